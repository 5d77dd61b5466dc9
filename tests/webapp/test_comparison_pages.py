"""Versions side by side: settings, curves, scores on the same images, paired tests, disagreements."""

import json
import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml.config import TrainConfig
from tests import factories
from tests.answers import make_answered, make_other_version
from tests.factories import Auth
from tests.webapp.test_gallery import changed_rows
from webapp.models import Dataset, ModelVersion, db
from webapp.studies import service as studies

# The four test images are benign, malignant, benign, malignant.
RIGHT = (0.1, 0.9, 0.2, 0.8)
ONE_WRONG = (0.1, 0.9, 0.2, 0.3)
MOSTLY_WRONG = (0.7, 0.4, 0.6, 0.6)
COMPARE = "/versions/compare?version=1&version=2"
REST = "/api/v1/versions/compare"


def two_versions(first: Any = MOSTLY_WRONG, second: Any = RIGHT, **values: Any) -> tuple[ModelVersion, ModelVersion]:
    one = factories.make_version()
    other = make_other_version(one, **values)
    for version, said in ((one, first), (other, second)):
        if said:
            make_answered(version, said)
    return one, other


def plain(html: str) -> str:
    """The text of a page, without tags, and with single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_the_list_of_versions_leads_to_the_comparison_of_the_ticked_ones(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        two_versions()
    auth.login("viewer")
    html = client.get("/versions/").text
    assert 'action="/versions/compare"' in html
    assert html.count('type="checkbox" name="version"') == 2
    assert client.get(COMPARE).status_code == 200


def test_settings_that_differ_are_marked(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        two_versions(config=TrainConfig(epochs=7, image_size_px=32))
    auth.login("viewer")
    html = client.get(COMPARE).text
    assert "1 difference" in html
    assert re.search(r'is-different"><th scope="row">Epochs</th><td[^>]*>1</td><td[^>]*>7</td>', html)
    settings = {one["name"]: one for one in client.get(f"{REST}?version=1&version=2").json["configuration"]}
    assert settings["config.epochs"] == {"name": "config.epochs", "values": [1, 7], "differs": True}
    assert settings["config.image_size_px"]["differs"] is False


def test_training_curves_lie_over_one_another(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        first, second = two_versions()
        for number in (1, 2, 3):
            factories.make_epoch(first.experiment, number)
        factories.make_epoch(second.experiment, 2)
    auth.login("viewer")
    found = re.search(r'data-chart-of="curve-validation_loss">(.*?)</script>', client.get(COMPARE).text)
    assert found
    data = json.loads(found[1])
    assert data["epochs"] == [1, 2, 3]
    assert [line["values"] for line in data["lines"]] == [[0.8, 0.4, 0.8 / 3], [None, 0.4, None]]


def test_paired_tests_and_disagreements_come_from_the_answers(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        two_versions()
    auth.login("viewer")
    body = client.get(f"{REST}?version=1&version=2").json
    (pair,) = body["pairs"]
    assert (body["images"], body["split"], body["dataset_id"], body["problem"]) == (4, "test", 1, None)
    assert pair["mcnemar"] == {"only_first": 0, "only_second": 3, "p_value": pytest.approx(0.25)}
    assert pair["accuracy"]["value"] == 0.75
    assert pair["auc"]["value"] == pytest.approx(1 - 0.125)
    assert body["disagreements"]["count"] == 3
    assert body["disagreements"]["first"][0] == {
        "number": 12,
        "truth": "benign",
        "said": [{"label": "malignant", "probability": 0.7}, {"label": "benign", "probability": 0.9}],
    }
    html = client.get(COMPARE).text
    text = plain(html)
    assert "2 against 1 +75.0" in text
    assert "3 : 0 0.2500" in text
    assert "Where they disagree: 3 of 4 images" in text
    assert "/datasets/1/images/12" in html
    assert "The test images of Small were looked at 2 times by 2 versions" in text


def test_versions_that_say_the_same_disagree_nowhere(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        two_versions(ONE_WRONG, ONE_WRONG)
    auth.login("viewer")
    assert "Nowhere: they say the same of every image" in client.get(COMPARE).text
    assert client.get(f"{REST}?version=1&version=2").json["pairs"][0]["mcnemar"]["p_value"] == 1


def test_three_versions_are_compared_pair_by_pair(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        first, _ = two_versions()
        make_answered(make_other_version(first), ONE_WRONG)
    auth.login("viewer")
    text = plain(client.get("/versions/compare?version=1&version=2&version=3&version=2").text)
    for words in ("2 against 1", "3 against 1", "3 against 2", "3 pairs are tested", "Versions 1, 2 and 3"):
        assert words in text


def test_without_common_images_the_page_says_where_to_evaluate_what(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        two_versions(second=None)
    auth.login("researcher")
    html = client.get(COMPARE).text
    assert "Evaluate version 2 on the test images of Small, version 1, then compare again." in html
    assert 'action="/versions/2/evaluations"' in html
    assert 'action="/versions/1/evaluations"' not in html
    answer = client.get(f"{REST}?version=1&version=2").json
    assert (answer["pairs"], answer["dataset_id"]) == ([], None)
    assert "Evaluate version 2" in answer["problem"]


def test_versions_of_different_classes_are_not_tested_against_each_other(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        make_answered(factories.make_version(), RIGHT)
        dataset = factories.make_dataset("Three", classes=("a", "b", "c"), test=6)
        make_answered(factories.make_version(factories.make_experiment(dataset, status="succeeded")), (0.2, 0.7))
    auth.login("researcher")
    page = client.get(COMPARE)
    assert page.status_code == 200
    assert "These versions know different classes" in page.text
    assert "/evaluations" not in page.text


def test_many_classes_have_no_delong_test(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        dataset = factories.make_dataset(classes=("a", "b", "c"), train=9, validation=6, test=6)
        first = factories.make_version(factories.make_experiment(dataset, status="succeeded"))
        make_answered(first, (0.2, 0.1, 0.9))
        make_answered(make_other_version(first), (0.9, 0.1, 0.4))
    auth.login("viewer")
    assert "for two classes only" in client.get(COMPARE).text
    pair = client.get(f"{REST}?version=1&version=2").json["pairs"][0]
    assert pair["auc"] == {"value": None, "low": None, "high": None, "p_value": None}
    assert pair["accuracy"]["value"] is not None


def test_another_common_ground_can_be_asked_for(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        for version in two_versions():
            make_answered(version, RIGHT, "validation")
    auth.login("viewer")
    html = client.get(COMPARE).text
    assert "dataset_id=1&amp;split=validation" in html
    other = client.get(f"{COMPARE}&dataset_id=1&split=validation").text
    assert "Scores on" in other
    assert "0 of 4 images" in plain(other)
    for query in ("split=train", "split=x", "dataset_id=9"):
        refused = client.get(f"{COMPARE}&{query}")
        assert refused.status_code == 422
        assert "Evaluate each of them there" in refused.text


def test_answers_that_are_gone_leave_the_scores_and_say_what_to_do(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        first, _ = two_versions(second=None)
        make_answered(db.session.get_one(ModelVersion, 2), RIGHT, predictions_sha256="0" * 64)
        assert first.experiment.dataset is db.session.get_one(Dataset, 1)
    auth.login("viewer")
    html = client.get(COMPARE).text
    assert "Evaluate version 2 on Small again" in html
    assert "Scores on" in html
    assert "Paired tests" not in html


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [("", 422, "at least two"), ("version=1", 422, "at least two"), ("version=1&version=1", 422, "at least two"),
     ("version=1&version=99", 404, "no version 99"), ("version=1&version=x", 422, "not the number"),
     ("version=1&version=-1", 422, "not the number"), ("version=1&version=" + "9" * 5000, 422, "not the number"),
     ("version=1&version=9999999999", 404, "no version"), ("version=1&version=²", 422, "not the number"),
     ("&".join(f"version={n}" for n in range(50)), 422, "at most 6")],
)  # fmt: skip
def test_odd_choices_are_refused_with_a_reason(
    app: Flask, client: FlaskClient, auth: Auth, query: str, status: int, words: str
) -> None:
    with app.app_context():
        two_versions()
    auth.login("viewer")
    answer = client.get(f"{REST}?{query}")
    assert answer.status_code == status
    assert "version" in answer.json["detail"]
    page = client.get(f"/versions/compare?{query}", follow_redirects=True)
    assert page.status_code == (200 if status == 422 else status)
    assert words in page.text
    assert (page.request.path == "/versions/") is (status == 422)


@pytest.mark.parametrize("query", ["start=-1", "start=x", "start=99999999999999999999", "dataset_id=x", "split="])
def test_odd_places_in_the_list_do_no_harm(app: Flask, client: FlaskClient, auth: Auth, query: str) -> None:
    with app.app_context():
        two_versions()
    auth.login("viewer")
    assert client.get(f"{COMPARE}&{query}").status_code == 200


def test_a_version_that_was_trained_on_the_images_is_not_compared_without_a_warning(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    """The second data set holds the training images of the first as its test images."""
    with app.app_context():
        first = factories.make_version()
        swapped = factories.make_dataset("Swapped", train=4, validation=0, test=12)
        second = factories.make_version(factories.make_experiment(swapped, status="succeeded"))
        heir = make_other_version(second, config=TrainConfig(initial_weights="version:1", image_size_px=32))
        for version in (first, second, heir):
            make_answered(version, RIGHT, dataset=swapped)
    auth.login("viewer")
    assert client.get(f"{REST}?version=1&version=2&version=3").json["trained_on"] == [4, 0, 4]
    html = client.get(COMPARE).text
    assert "Version 1 was trained on 4 of these 12 images" in html
    assert "Version 2 was trained on" not in html


def test_images_of_one_patient_are_not_counted_as_independent(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        dataset = factories.make_dataset()
        changed_rows(dataset, group={12: "a", 13: "a", 14: "a"})
        first = factories.make_version(factories.make_experiment(dataset, status="succeeded"))
        for version in (first, make_other_version(first)):
            make_answered(version, RIGHT)
    auth.login("viewer")
    assert client.get(f"{REST}?version=1&version=2").json["pairs"][0]["units"] == 2
    assert "The 4 images come from 2 independent groups or single images" in client.get(COMPARE).text
    assert "not defined here: each class needs images of two groups or more" in client.get(COMPARE).text


def two_folds() -> list[ModelVersion]:
    """The versions of the first two folds of a study on the only data set, each scored on its own test images."""
    study = studies.create(1, "Three", "folds", 3, TrainConfig(epochs=1), factories.find_user())
    versions = [factories.make_version(row) for row in study.members[:2]]
    for version in versions:
        make_answered(version, RIGHT)
    return versions


def test_folds_are_sent_to_all_images_of_another_data_set(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_dataset()
        two_folds()
    auth.login()
    alone = client.get(COMPARE).text
    assert "A fold has test images of its own" in alone
    assert 'href="/studies/1"' in alone
    assert "Evaluate version 1 on" not in alone
    assert "Data set Small, version 1, fold 1 of 3 Small, version 1, fold 2 of 3" in plain(alone)
    with app.app_context():
        factories.make_dataset("Elsewhere")
    assert "Evaluate versions 1 and 2 on all images of Elsewhere" in plain(client.get(COMPARE).text)


def test_folds_are_compared_where_both_were_evaluated_on_the_same_images(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        factories.make_dataset()
        for version in two_folds():
            make_answered(version, RIGHT, "all", dataset=db.session.get(Dataset, 2) or factories.make_dataset("Else"))
    auth.login("viewer")
    found = client.get(f"{REST}?version=1&version=2").json
    assert (found["problem"], found["dataset_id"], found["split"], found["images"]) == (None, 2, "all", 16)
