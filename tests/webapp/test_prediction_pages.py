"""Trying an image in the browser."""

import contextlib
import io

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from tests import factories
from tests.factories import Auth
from tests.ml import small_dataset
from webapp.models import Prediction, db
from webapp.predictions import turns
from webapp.predictions.journal import journal


def png(is_bright: bool = True) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(np.asarray(small_dataset.draw(is_bright, 32, 0))).save(file, "PNG")
    file.seek(0)
    return file


def test_without_an_active_version_the_page_says_what_to_do(client: FlaskClient, auth: Auth) -> None:
    auth.login()
    html = client.get("/try/").text
    assert "No version is active" in html
    assert 'href="/versions/"' in html
    answer = client.post("/try/", data=auth.form(image=(png(), "a.png")))
    assert answer.status_code == 503
    assert "No model version is active." in answer.text


@pytest.mark.parametrize(("is_bright", "label"), [(True, "malignant"), (False, "benign")])
def test_an_image_is_answered_with_label_probabilities_and_version(
    app: Flask, client: FlaskClient, auth: Auth, is_bright: bool, label: str
) -> None:
    with app.app_context():
        factories.make_activation(factories.make_version())
    auth.login("viewer")
    html = client.post("/try/", data=auth.form(image=(png(is_bright), "a.png"))).text
    assert f'data-answer="{label}"' in html
    assert "version 1" in html
    assert " ms" in html
    with app.app_context():
        assert journal().flush()
        assert db.session.query(Prediction).one().label == label


@pytest.mark.parametrize("explains", [True, False])
def test_the_page_shows_where_the_model_looked_if_it_can_tell(
    app: Flask, client: FlaskClient, auth: Auth, explains: bool
) -> None:
    with app.app_context():
        factories.make_activation(factories.make_version(explains=explains))
    auth.login("viewer")
    html = client.post("/try/", data=auth.form(image=(png(), "a.png"))).text
    assert ("data-opacity" in html) == ("data:image/png;base64," in html) == explains
    assert ("exported without class activation maps" in html) != explains


def test_htmx_gets_the_answer_alone(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_activation(factories.make_version())
    auth.login("viewer")
    fields = auth.form(image=(png(), "a.png"))
    html = client.post("/try/", data=fields, headers={"HX-Request": "true"}).text
    assert "data-answer" in html
    assert "<html" not in html


@pytest.mark.parametrize("data", [b"", b"not an image", png().getvalue()[:60]])
def test_a_bad_image_is_refused_in_words(app: Flask, client: FlaskClient, auth: Auth, data: bytes) -> None:
    with app.app_context():
        factories.make_activation(factories.make_version())
    auth.login("viewer")
    answer = client.post("/try/", data=auth.form(image=(io.BytesIO(data), "a.png")))
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    with app.app_context():
        assert db.session.query(Prediction).count() == 0


def test_where_too_many_ask_the_page_says_when_to_come_back(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_activation(factories.make_version())
    auth.login("viewer")
    with contextlib.ExitStack() as taken:
        with app.app_context():
            for _ in range(turns.places(app.extensions["settings"])):
                taken.enter_context(turns.taken())
        answer = client.post("/try/", data=auth.form(image=(png(), "a.png")))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "Try again in a second" in answer.text
