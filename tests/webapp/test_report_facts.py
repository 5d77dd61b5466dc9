"""What the report says of how a version came about, and to the items of the annex: by fact, never by habit."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from ml.config import TrainConfig
from ml.space import Plan
from tests import factories
from tests.answers import guard, make_answered, make_other_version
from tests.factories import Auth
from tests.webapp.test_comparison_pages import plain
from tests.webapp.test_gallery import changed_rows
from tests.webapp.test_report import make_reported
from tests.webapp.test_search_service import PLAN, end, make_search
from webapp.models import Evaluation, ModelVersion, db
from webapp.registry import report


def make_searched(scores: tuple[float, ...], chosen: int) -> ModelVersion:
    """The version of one trial of a search that ended with these scores on validation."""
    search = make_search(Plan(trials=len(scores), space=PLAN.space))
    for score in scores:
        end(search.trials[-1], score)
        db.session.expire(search)
    version = factories.make_version(search.trials[chosen - 1])
    factories.make_evaluation(version)
    return version


@pytest.mark.parametrize(
    ("chosen", "verdict", "answer"),
    [(2, "chosen by validation AUC", "yes"), (1, "whose best by validation AUC is trial 2", "unknown")],
)
def test_the_report_of_a_trial_says_which_of_how_many_it_is_and_what_chose_it(
    app: Flask, client: FlaskClient, auth: Auth, chosen: int, verdict: str, answer: str
) -> None:
    with app.app_context():
        make_searched((0.6, 0.9, 0.7), chosen)
    auth.login("viewer")
    text, pack = plain(client.get("/versions/1/report").text), client.get("/api/v1/versions/1/report").json
    told = f"Trial {chosen} of 3 of the search “Better”, {verdict}"
    items = {item["number"]: item for item in pack["claim"]} | {f"T{one['number']}": one for one in pack["tripod_ai"]}
    for number in ("25", "26", "T12c"):
        assert told in items[number]["filled"]
        assert items[number]["filled"] in text
    assert "Learning rate, Optimiser" in items["T12c"]["filled"]
    assert f"{answer} Were the settings chosen without test images?" in text
    assert "It is one of 3 trials" in text
    assert (pack["search"]["best"], pack["search"]["finished"], pack["search"]["judged_by"]) == (2, 3, "validation AUC")
    assert 'href="/searches/1"' in client.get("/versions/1/report").text
    assert "href" not in client.get("/versions/1/files/card.html").text


def test_settings_that_no_search_chose_leave_to_a_person_how_they_were_found(context: Flask) -> None:
    made = report.report_of(make_reported())
    (tuned,) = [item for item in made.tripod if item.number == "12c"]
    assert (tuned.state, tuned.person) == ("in part", "How its settings were found")
    assert "earch" not in next(item.filled or "" for item in made.claim if item.number == "26")


def test_settings_are_clean_only_while_no_other_version_was_scored_on_the_test_images(context: Flask) -> None:
    version = make_reported()
    question = "Were the settings chosen without test images?"
    assert {check.question: check.answer for check in report.report_of(version).checks}[question] == "yes"
    make_answered(make_other_version(version), (0.2, 0.7))
    assert {check.question: check.answer for check in report.report_of(version).checks}[question] == "unknown"


def because_of(version: ModelVersion, words: str) -> str:
    """Why the question with these words has its answer."""
    (because,) = [check.because for check in report.report_of(version).checks if words in check.question]
    return because


def test_what_is_fitted_to_images_is_named(context: Flask) -> None:
    plain_version = make_reported()
    assert because_of(plain_version, "fitted to images").endswith(
        "Fitted to training images: batch norm where it learns."
    )
    config = TrainConfig(network="cnn_fast", epochs=1, image_size_px=32)
    whitened = factories.make_version(
        factories.make_experiment(factories.make_dataset(validation=20), config=config, status="succeeded")
    )
    guard(whitened)
    whitened.files = {**whitened.files, "model.int8.onnx": "0" * 64}
    assert because_of(whitened, "fitted to images") == (
        "Size and scaling are constants of the network. Fitted to training images: batch norm where it learns, the "
        "whitening of cnn_fast, the ranges of the int8 graph and the reference of the guard. The limits of "
        "the guard are fitted to validation images too."
    )


def test_whitening_that_came_with_initial_weights_is_not_fitted_here(context: Flask) -> None:
    config = TrainConfig(network="cnn_fast", epochs=1, image_size_px=32)
    version = make_other_version(factories.make_version(), config=config)
    version.experiment.config = {**version.experiment.config, "initial_weights": "version:1"}
    assert "whitening" not in because_of(version, "fitted to images")


@pytest.mark.parametrize(
    ("groups", "state", "filled", "person"),
    [
        ({}, "needs a person", None, "Differences between clusters"),
        ({12: "p1", 13: "p1", 14: "p2"}, "in part", "Intervals by drawing 3 whole groups (patients): section 6.",
         "The group of 13 images"),
        ({number: f"p{number}" for number in range(16)}, "filled",
         "No group (patient) has several test images; each image counts as independent.", None),
    ],
)  # fmt: skip
def test_differences_between_clusters_are_answered_only_where_groups_are_known(
    context: Flask, groups: dict[int, str], state: str, filled: str | None, person: str | None
) -> None:
    dataset = factories.make_dataset()
    changed_rows(dataset, group=groups)
    version = factories.make_version(factories.make_experiment(dataset, status="succeeded"))
    factories.make_evaluation(version)
    (item,) = [one for one in report.report_of(version).tripod if one.number == "12d"]
    assert (item.state, item.filled, item.person) == (state, filled, person)


def test_scores_that_do_not_tell_their_intervals_leave_clusters_to_a_person(context: Flask) -> None:
    dataset = factories.make_dataset()
    changed_rows(dataset, group={12: "p1", 13: "p1"})
    version = factories.make_version(factories.make_experiment(dataset, status="succeeded"))
    row = factories.make_evaluation(version)
    row.metrics = {**row.metrics, "intervals": None}
    assert {item.number: item.state for item in report.report_of(version).tripod}["12d"] == "needs a person"


def test_a_level_that_is_not_known_is_left_to_a_person(context: Flask) -> None:
    version = make_reported()
    version.experiment.dataset.manifest_sha256 = "0" * 64
    made = report.report_of(version)
    states = {item.number: item.state for item in made.claim} | {f"T{item.number}": item.state for item in made.tripod}
    assert made.level == "Unknown: the list of images is not at hand."
    assert (states["20"], states["T16"]) == ("needs a person", "needs a person")


@pytest.mark.parametrize(
    ("config", "averaged"),
    [
        ({}, ""),
        ({"flip_at_test": True}, " Image and mirror image are averaged."),
        ({"shift_at_test": True}, " The image and two copies of it, shifted by a pixel, are averaged."),
        ({"flip_at_test": True, "shift_at_test": True},
         " Image, mirror image and two copies of each, shifted by a pixel, are averaged."),
    ],
)  # fmt: skip
def test_the_copies_that_are_averaged_are_named(context: Flask, config: dict[str, bool], averaged: str) -> None:
    version = make_reported()
    version.experiment.config = {**version.experiment.config, **config}
    assert f"No ensemble.{averaged}" in {item.filled for item in report.report_of(version).claim}


def test_the_surest_errors_are_those_that_section_7_prints(context: Flask) -> None:
    version = make_reported()
    on_test = db.session.scalars(select(Evaluation)).one()
    other = factories.make_evaluation(version, "validation")
    error = {"number": 3, "truth": "benign", "predicted": "malignant", "probability": 0.9}

    def filled() -> set[str | None]:
        made = report.report_of(version)
        return {item.filled for item in made.claim + made.tripod if "surest errors" in (item.filled or "")}

    on_test.confident_errors, other.confident_errors = [], [error]
    assert not filled()
    on_test.confident_errors = [error]
    assert len(filled()) == 1
