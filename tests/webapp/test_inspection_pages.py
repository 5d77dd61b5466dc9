"""Close to one image of an evaluation: its map, the training images alike; and the robustness of a version."""

import io
import re
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from ml import robustness
from tests import factories
from tests.answers import make_answered, make_inspected
from tests.factories import Auth
from tests.webapp.test_gallery import changed_rows
from webapp import objects
from webapp.models import Evaluation, ModelVersion, db
from webapp.registry import inspection

PAGES = "/versions/1/evaluations/1"
TRAINED_ON = re.compile(r'href="/datasets/1/images/(\d+)[^"]*"[^>]*>\s*<img[^>]*training image')


@pytest.fixture
def inspected(app: Flask, client: FlaskClient, auth: Auth) -> Flask:
    """Images 0 to 7 are of 'train', 12 to 15 of 'test', benign and malignant in turn."""
    with app.app_context():
        make_inspected(factories.make_version())
    auth.login()
    return app


def alpha_of(client: FlaskClient, query: str = "") -> np.ndarray:
    answer = client.get(f"{PAGES}/maps/13.png{query}")
    assert (answer.status_code, answer.mimetype) == (200, "image/png")
    return np.asarray(Image.open(io.BytesIO(answer.data)).convert("RGBA"))[..., 3]


def test_each_image_of_the_list_has_its_map_beside_it_and_leads_to_both(inspected: Flask, client: FlaskClient) -> None:
    html = client.get(f"{PAGES}/images").text
    for number in range(12, 16):
        assert f'href="{PAGES}/images/{number}"' in html
        assert f"{PAGES}/maps/{number}.png?small=1" in html


def test_the_map_of_a_bright_disc_covers_its_middle(inspected: Flask, client: FlaskClient) -> None:
    found_HW = alpha_of(client, "?v=abc")
    assert found_HW.shape == (32, 32)
    assert found_HW[12:20, 12:20].mean() > found_HW[:4].mean()
    assert "immutable" in client.get(f"{PAGES}/maps/13.png?v=abc").headers["Cache-Control"]


def test_an_image_shows_its_map_and_the_training_images_alike(inspected: Flask, client: FlaskClient) -> None:
    html = client.get(f"{PAGES}/images/13").text
    assert "data-opacity" in html
    assert re.search(r"said\s*<strong>malignant</strong>", html)
    numbers = [int(number) for number in TRAINED_ON.findall(html)]
    assert len(numbers) == 6
    assert set(numbers) <= set(range(8))
    assert len(re.findall(r"distance \d", html)) == 6


def test_a_group_that_was_removed_is_not_shown(inspected: Flask, client: FlaskClient) -> None:
    with inspected.app_context():
        version = db.session.get_one(ModelVersion, 1)
        changed_rows(version.experiment.dataset, group=dict.fromkeys(range(6), "removed"))
        version.removed_groups = ["removed"]
        db.session.commit()
    numbers = TRAINED_ON.findall(client.get(f"{PAGES}/images/13").text)
    assert set(numbers) == {"6", "7"}


def test_images_that_went_into_quarantine_since_are_not_shown(inspected: Flask, client: FlaskClient) -> None:
    with inspected.app_context():
        first = db.session.get_one(ModelVersion, 1).experiment.dataset
        newer = factories.make_dataset(line=first.line, number=2, parent_number=1)
        changed_rows(newer, quarantined={1: True})
    assert "1" not in TRAINED_ON.findall(client.get(f"{PAGES}/images/13").text)


def test_the_evidence_of_an_evaluation_is_no_garbage(inspected: Flask) -> None:
    with inspected.app_context():
        assert db.session.get_one(Evaluation, 1).evidence_sha256 in objects.in_use()


def test_without_evidence_the_page_says_what_to_do(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        make_answered(factories.make_version(), (0.2, 0.9))
    auth.login()
    assert "train again" in client.get(f"{PAGES}/images/13").text
    assert client.get(f"{PAGES}/maps/13.png").status_code == 404


@pytest.mark.parametrize("address", ["images/3", "images/99", "maps/3.png", "maps/99.png"])
def test_an_image_of_another_split_is_not_there(inspected: Flask, client: FlaskClient, address: str) -> None:
    answer = client.get(f"{PAGES}/{address}")
    assert answer.status_code == 404
    assert "Evaluation 1 has no" in answer.text


def stressed() -> dict[str, Any]:
    """As a job measures it, of two images."""
    score, moved = {"value": 0.9, "low": 0.8, "high": 0.95}, {"value": -0.042, "low": -0.1, "high": 0.01}
    scores = dict.fromkeys(("accuracy", "auc", "sensitivity", "specificity"), score)
    moves = dict.fromkeys(("accuracy_moved", "auc_moved", "sensitivity_moved"), moved)
    outcomes = [{"change": "none", "strength": None, **scores}, {"change": "blur", "strength": 0.01, **scores, **moves}]
    fields = {"n": 2, "of": 4, "seed": 0, "operating_point": None, "outcomes": outcomes}
    return robustness.Robustness.model_validate(fields).model_dump(mode="json")


def test_robustness_is_a_table_on_its_page_in_the_report_and_in_the_api(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        make_inspected(factories.make_version(), robustness=stressed())
    auth.login("viewer")
    html = client.get(f"{PAGES}/robustness").text
    assert "2 of 4 images" in html
    assert "Blur, radius 1.0\u202f% of the side" in html
    assert "-4.2" in html
    report = client.get("/versions/1/report").text
    assert "-4.2 (-10.0 to +1.0)" in report
    assert "was not measured for this page" not in report
    assert client.get("/api/v1/evaluations/1", headers=auth.token()).json["robustness"]["n"] == 2


def test_every_change_has_its_words() -> None:
    assert set(inspection.CHANGES) == set(robustness.STRENGTHS)


def test_robustness_is_measured_on_demand(inspected: Flask, client: FlaskClient, auth: Auth) -> None:
    assert "Measure robustness" in client.get(f"{PAGES}/robustness").text
    assert client.post(f"{PAGES}/robustness", data=auth.form()).status_code == 302
    wanted = {"version": 1, "dataset_id": 1, "split": "validation", "robustness": True}
    assert client.post("/api/v1/evaluations", json=wanted, headers=auth.token()).status_code == 202
    with inspected.app_context():
        rows = [db.session.get_one(Evaluation, number) for number in (1, 2, 3)]
        assert [(row.split, row.is_stressed) for row in rows] == [
            ("test", False),
            ("test", True),
            ("validation", True),
        ]


def test_a_card_tells_whether_its_maps_explain_anything(app: Flask, client: FlaskClient, auth: Auth) -> None:
    checks = {"images": 16, "shifted": 0.97, "shuffled": {"head": 0.8, "stem": 0.6}}
    with app.app_context():
        version = factories.make_version()
        verdicts = {"holds_still": True, "depends_on_weights": False}
        version.card = {**version.card, "maps": {**checks, **verdicts}}
        db.session.commit()
    auth.login("viewer")
    html = client.get("/versions/1").text
    assert "Do its maps explain anything?" in html
    assert re.search(r"depend on what was learned</dt><dd[^>]*>no", html)
    assert "must not be used to explain" in client.get("/versions/1/report").text
