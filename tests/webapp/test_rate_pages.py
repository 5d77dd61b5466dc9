"""Learning-rate range tests in the browser and for client systems."""

import json
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml.config import TrainConfig
from ml.rate_curve import curve_of
from tests import factories
from tests.factories import Auth
from tests.webapp.test_experiment_pages import fields_of, post
from webapp import queue
from webapp.datasets import service as datasets
from webapp.errors import Conflict
from webapp.models import RateSearch, db
from webapp.rates import service


@pytest.fixture
def search_id(app: Flask) -> int:
    with app.app_context():
        config, user = TrainConfig(epochs=7), factories.find_user("researcher")
        return service.create(factories.make_dataset().id, "Which rate", config, user).id


def finish(app: Flask, losses: list[float]) -> None:
    with app.app_context():
        row = db.session.get_one(RateSearch, 1)
        row.status, row.curve = "succeeded", curve_of(losses).model_dump(mode="json")
        db.session.commit()


FALLING = [*[1.0] * 40, *[1.0 - 0.04 * step for step in range(20)], *[5.0] * 3]


def test_the_form_of_an_experiment_begins_a_search(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_dataset()
    auth.login()
    assert post(client, auth, fields_of(TrainConfig(epochs=3)), begin="rate").location == "/learning-rates/1"
    html = client.get("/learning-rates/1").text
    for text in ("Number 1 in the queue", 'hx-trigger="every 2s"', "/learning-rates/1/cancel"):
        assert text in html
    assert "A run" in client.get("/learning-rates/").text
    with app.app_context():
        assert queue.lengths()["learning-rate"] == 1


def test_the_curve_is_drawn_and_its_rate_fills_the_form(
    app: Flask, client: FlaskClient, auth: Auth, search_id: int
) -> None:
    finish(app, FALLING)
    auth.login()
    html = client.get(f"/learning-rates/{search_id}").text
    found = re.search(r'data-chart-of="rate-curve">(.*?)</script>', html)
    assert found
    data = json.loads(found[1])
    assert (data["kind"], len(data["rates"])) == ("rates", len(FALLING))
    form = client.get(f"/experiments/new?rate_search={search_id}").text
    for text in (f'value="{data["suggested_rate"]}"', 'value="7"', 'value="Which rate"'):
        assert text in form


def test_a_curve_without_a_suggestion_says_so(app: Flask, client: FlaskClient, auth: Auth, search_id: int) -> None:
    finish(app, [0.7] * 60)
    auth.login()
    assert "No rate is suggested" in client.get(f"/learning-rates/{search_id}/live").text
    assert 'value="0.001"' in client.get(f"/experiments/new?rate_search={search_id}").text


def test_a_search_is_cancelled_once_and_keeps_its_data_set(
    app: Flask, client: FlaskClient, auth: Auth, search_id: int
) -> None:
    auth.login()
    assert client.post(f"/learning-rates/{search_id}/cancel", data=auth.form()).status_code == 302
    assert client.post(f"/learning-rates/{search_id}/cancel", data=auth.form()).status_code == 409
    with app.app_context():
        row, user = db.session.get_one(RateSearch, 1), factories.find_user("admin")
        assert row.status == "cancelled"
        with pytest.raises(Conflict, match="learning rate searches 1"):
            datasets.delete(row.dataset, user)


def test_client_systems_make_read_and_cancel_searches(app: Flask, client: FlaskClient, auth: Auth) -> None:
    headers, address = auth.token(), "/api/v1/learning-rate-searches"
    with app.app_context():
        factories.make_dataset()
    body = {"dataset_id": 1, "name": "By a client", "config": {"network": "resnet18"}}
    made = client.post(address, json=body, headers=headers)
    assert (made.status_code, made.json["status"], made.json["suggested_rate"]) == (202, "queued", None)
    finish(app, FALLING)
    read = client.get(made.json["url"], headers=headers).json
    assert read["suggested_rate"] == read["curve"]["suggested_rate"] > 0
    assert [item["id"] for item in client.get(address, headers=headers).json["items"]] == [1]
    assert client.post(f"{address}/1/cancel", headers=headers).status_code == 409
    wrong = client.post(address, json=body | {"config": {"initial_weights": "version:9"}}, headers=headers)
    assert (wrong.status_code, wrong.json["errors"][0]["field"]) == (422, "config.initial_weights")
