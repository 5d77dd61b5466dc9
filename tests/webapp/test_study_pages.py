"""Studies in the browser and for client systems."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml.config import TrainConfig
from ml.folding import as_seen
from tests import factories
from tests.answers import make_answered
from tests.factories import Auth
from tests.webapp.test_experiment_pages import fields_of, post
from webapp.datasets import contents
from webapp.models import Study, db
from webapp.studies import members, pooling, service


@pytest.fixture
def study_id(app: Flask) -> int:
    with app.app_context():
        config, user = TrainConfig(epochs=1), factories.find_user("researcher")
        return service.create(factories.make_dataset().id, "Three", "folds", 3, config, user).id


def test_the_form_of_an_experiment_begins_a_study(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_dataset()
    auth.login()
    answer = post(client, auth, fields_of(TrainConfig()), repeat="seeds", k="4")
    assert answer.location == "/studies/1"
    html = client.get("/studies/1").text
    for text in ("0 of 4 finished", "Seed 4", "Cancel all", 'hx-trigger="every 2s"'):
        assert text in html
    assert "A run" in client.get("/studies/").text
    assert "seed 1 of 4" in client.get("/experiments/1").text


@pytest.mark.parametrize(
    ("repeat", "k", "message"),
    [("folds", "12", "too few for 12 folds"), ("seeds", "x", "whole number"), ("seeds", "1", "2 to 20")],
)
def test_a_mistake_is_shown_and_what_was_chosen_is_kept(
    app: Flask, client: FlaskClient, auth: Auth, repeat: str, k: str, message: str
) -> None:
    with app.app_context():
        factories.make_dataset()
    auth.login()
    answer = post(client, auth, fields_of(TrainConfig()), repeat=repeat, k=k)
    assert answer.status_code == 422
    for text in (message, f'<option value="{repeat}" selected>', f'value="{k}"'):
        assert text in answer.text


def test_a_finished_member_shows_its_scores_and_its_version_says_where_it_belongs(
    app: Flask, client: FlaskClient, auth: Auth, study_id: int
) -> None:
    with app.app_context():
        for row in db.session.get_one(Study, study_id).members[:2]:
            row.status = "succeeded"
            make_answered(factories.make_version(row), [0.4, 0.6 - row.member / 10])
    auth.login("viewer")
    html = client.get(f"/studies/{study_id}/live").text
    for text in ("2 of 3 finished", "Nadeau and Bengio 2003", "Bengio and Grandvalet 2004", "/versions/2", "corrected"):
        assert text in html
    assert "Fold 2 of 3" in client.get("/versions/2").text
    assert "test of fold 2 of 3" in client.get("/datasets/1").text


def test_members_that_score_alike_are_no_certainty(app: Flask, client: FlaskClient, auth: Auth, study_id: int) -> None:
    with app.app_context():
        for row in db.session.get_one(Study, study_id).members[:2]:
            row.status = "succeeded"
            make_answered(factories.make_version(row), [0.9])
    auth.login("viewer")
    assert "that is no certainty" in client.get(f"/studies/{study_id}/live").text


def test_cancelling_stops_the_whole_study(client: FlaskClient, auth: Auth, study_id: int) -> None:
    auth.login()
    assert client.post(f"/studies/{study_id}/cancel", data=auth.form()).status_code == 302
    html = client.get(f"/studies/{study_id}").text
    assert "Cancel all" not in html
    assert "hx-trigger" not in html.split('id="live"')[1][:300]
    assert client.post(f"/studies/{study_id}/cancel", data=auth.form()).status_code == 409


def test_client_systems_make_watch_and_cancel_studies(app: Flask, client: FlaskClient, auth: Auth) -> None:
    headers = auth.token()
    with app.app_context():
        factories.make_dataset()
    body = {"dataset_id": 1, "name": "By a client", "kind": "folds", "k": 3, "config": {"epochs": 2}}
    made = client.post("/api/v1/studies", json=body, headers=headers)
    assert (made.status_code, made.json["status"], len(made.json["members"])) == (202, "queued", 3)
    assert client.get("/api/v1/studies", headers=headers).json["items"][0]["name"] == "By a client"
    member = client.get("/api/v1/experiments/2", headers=headers).json
    assert (member["study"], member["member"]) == (1, 2)
    assert client.post("/api/v1/studies/1/cancel", headers=headers).status_code == 202
    assert client.get("/api/v1/studies/1", headers=headers).json["status"] == "cancelled"
    refused = client.post("/api/v1/studies", json=body | {"k": 15}, headers=headers)
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (422, "k")


def test_the_labels_of_all_images_are_doubted_by_networks_that_did_not_learn_from_them(
    app: Flask, client: FlaskClient, auth: Auth, study_id: int
) -> None:
    auth.login("viewer")
    assert "once each of its folds has ended well" in client.get(f"/studies/{study_id}/label-errors").text
    with app.app_context():
        study = db.session.get_one(Study, study_id)
        wrong = _answer_all_but_one_rightly(study, fold=2)
        pooling.pool(study.id)
    assert f"/studies/{study_id}/label-errors" in client.get(f"/studies/{study_id}").text
    html = client.get(f"/studies/{study_id}/label-errors").text
    assert "1 of 16 images" in html
    assert f'href="/versions/2/evaluations/2/images/{wrong}"' in html
    assert "fold 2" in html


def test_a_study_of_seeds_promises_no_answers_on_all_images(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        user = factories.find_user("researcher")
        study = service.create(factories.make_dataset().id, "Two", "seeds", 2, TrainConfig(epochs=1), user)
        address = f"/studies/{study.id}/label-errors"
    auth.login("viewer")
    answer = client.get(address)
    assert answer.status_code == 409
    assert "its seeds judge the test images alone" in answer.text
    assert "fold" not in answer.text


def _answer_all_but_one_rightly(study: Study, fold: int) -> int:
    """Makes the answers of all folds; the number of the one image of `fold` that is answered as the other class."""
    every = contents.manifest_of(study.dataset)
    found = -1
    for row in study.members:
        row.status = "succeeded"
        judged = [n for n, image in enumerate(as_seen(every, members.of(row)).rows) if image.split == "test"]
        said = [0.9 if every.rows[number].label == "malignant" else 0.1 for number in judged]
        if row.member == fold:
            found, said[0] = judged[0], 1 - said[0]
        make_answered(factories.make_version(row), said)
    return found
