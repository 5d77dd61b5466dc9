"""What the report says of the scores beyond the table: classes, sureness, sets, epochs, another version beside it."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from ml.conformal import ConformalScores
from ml.intervals import Score, proportion
from tests import factories
from tests.answers import make_answered, make_other_version
from tests.factories import Auth
from tests.webapp.test_comparison_pages import MOSTLY_WRONG, RIGHT, plain
from tests.webapp.test_evidence_pack import both, tables_of
from webapp.models import Evaluation, ModelVersion, db


def make_tested(said: Any = RIGHT, **values: Any) -> ModelVersion:
    version = factories.make_version(factories.make_experiment(factories.make_dataset(**values), status="succeeded"))
    make_answered(version, said)
    return version


@pytest.mark.parametrize("classes", [("benign", "malignant"), ("a", "b", "c"), tuple("abcdefghijklmnopqrstuvw")])
def test_every_class_has_its_recall(app: Flask, client: FlaskClient, auth: Auth, classes: tuple[str, ...]) -> None:
    with app.app_context():
        make_tested((0.2, 0.9), classes=classes, train=2 * len(classes), test=2 * len(classes))
    auth.login("viewer")
    html, pack = both(client)
    rows = tables_of(html)["Each class against"]
    assert [row[0] for row in rows] == list(classes)
    for row, one in zip(rows, pack["metrics"]["per_class"], strict=True):
        assert row[1] == str(one["n"])
        assert row[3].startswith("–" if one["recall"]["value"] is None else f"{100 * one['recall']['value']:.1f} %")
        assert len(row) == (5 if len(classes) == 2 else 8)  # of two classes the first table says the rest
        for cell, name in zip(row[4:-1], ("specificity", "npv"), strict=False):
            assert cell.startswith("–" if one[name]["value"] is None else f"{100 * one[name]['value']:.1f} %")
        for cell, name in zip(row[6:], ("auc", "f1"), strict=False):
            assert cell.startswith("–" if one[name]["value"] is None else f"{one[name]['value']:.3f}")


def test_classes_that_an_earlier_release_scored_have_the_columns_that_it_knew(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        make_tested((0.2, 0.9), classes=("a", "b", "c"), train=6, test=6)
        row = db.session.scalars(select(Evaluation)).one()
        known = ("class", "n", "precision", "recall", "f1")
        old = [{name: one[name] for name in known} for one in row.metrics["per_class"]]
        row.metrics = {**row.metrics, "per_class": old}
        db.session.commit()
    auth.login("viewer")
    assert [len(row) for row in tables_of(both(client)[0])["Each class against"]] == [5, 5, 5]


@pytest.mark.parametrize("is_old", [True, False])
def test_the_brier_score_is_said_once(app: Flask, client: FlaskClient, auth: Auth, is_old: bool) -> None:
    with app.app_context():
        make_tested()
        row = db.session.scalars(select(Evaluation)).one()
        row.metrics = {name: value for name, value in row.metrics.items() if name != "brier" or not is_old}
        db.session.commit()
    auth.login("viewer")
    html = client.get("/versions/1/report").text
    assert html.count("Brier score") == 1
    assert ("<dt>Brier score</dt>" in html) == is_old


def test_of_very_many_classes_the_first_have_a_line(
    app: Flask, client: FlaskClient, auth: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.registry.report.MOST_CLASSES", 2)
    with app.app_context():
        make_tested((0.2, 0.9), classes=("a", "b", "c"), train=6, test=6)
    auth.login("viewer")
    html, pack = both(client)
    assert [row[0] for row in tables_of(html)["Each class against"]] == ["a", "b"]
    assert "the first 2 of 3 classes" in plain(html)
    assert len(pack["metrics"]["per_class"]) == 3


def test_errors_among_the_surest_images_are_told_at_round_coverages(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        make_tested((0.1, 0.9, 0.7, 0.8))  # benign, malignant, benign, malignant: the least sure one is wrong
    auth.login("viewer")
    html, pack = both(client)
    assert pack["risk_coverage"] == [{"coverage": 1.0, "risk": 0.25}, {"coverage": 0.75, "risk": 0.0},
                                     {"coverage": 0.5, "risk": 0.0}]  # fmt: skip
    assert tables_of(html)["Share of errors"] == [["100.0 %", "25.0 %"], ["75.0 %", "0.0 %"], ["50.0 %", "0.0 %"]]
    assert 'aria-label="Risk-coverage curve"' in html


def test_conformal_sets_are_told_with_what_was_promised(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        version = make_tested()
        row = db.session.scalars(select(Evaluation).where(Evaluation.version_id == version.id)).one()
        found = ConformalScores(alpha=0.1, threshold=0.2, coverage=proportion(3, 4), mean_set_size=1.25,
                                singletons=0.75, empty=0.0)  # fmt: skip
        row.metrics = {**row.metrics, "conformal": [found.model_dump(mode="json")]}
        db.session.commit()
    auth.login("viewer")
    html, pack = both(client)
    (shown,) = tables_of(html)["Instead of one"]
    assert (shown[0], shown[2:]) == ("90 %", ["1.25", "75.0 %", "0.0 %"])
    assert shown[1].startswith("75.0 %")
    assert pack["metrics"]["conformal"][0]["coverage"]["value"] == 0.75


def test_conformal_sets_have_the_intervals_of_their_sizes(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        make_tested()
        row = db.session.scalars(select(Evaluation)).one()
        found = ConformalScores(alpha=0.1, threshold=0.2, coverage=proportion(3, 4), mean_set_size=1.25,
                                singletons=0.75, empty=0.0, set_size=Score(value=1.25, low=1.125, high=1.5),
                                one_class=Score(value=0.75, low=0.25, high=0.875),
                                no_class=Score(value=0.0, low=0.0, high=0.5))  # fmt: skip
        row.metrics = {**row.metrics, "conformal": [found.model_dump(mode="json")]}
        db.session.commit()
    auth.login("viewer")
    (shown,) = tables_of(both(client)[0])["Instead of one"]
    assert shown[2:] == ["1.251.12 to 1.50", "75.0 %25.0 to 87.5 %", "0.0 %0.0 to 50.0 %"]


def test_the_epochs_are_drawn_and_are_in_the_json(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        version = make_tested()
        for number in (1, 2, 3):
            factories.make_epoch(version.experiment, number)
    auth.login("viewer")
    html, pack = both(client)
    assert 'aria-label="Loss by epoch"' in html
    assert 'aria-label="Validation by epoch"' in html
    assert [epoch["number"] for epoch in pack["experiment"]["epochs"]] == [1, 2, 3]


def test_the_version_that_serves_stands_beside_this_one_on_the_same_images(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        own = make_tested(RIGHT)
        serving = make_other_version(own)
        make_answered(serving, MOSTLY_WRONG)
        factories.make_activation(serving)
    auth.login("viewer")
    html, pack = both(client)
    found = pack["comparison"]
    assert (found["version"], found["role"], found["problem"], found["trained_on"]) == (2, "serves", None, [0, 0])
    assert [one["version"] for one in found["evaluations"]] == [2, 1]
    assert found["pair"]["accuracy"]["value"] > 0  # this version is the better one
    rows = tables_of(html)["On the same"]
    assert rows[0][3].startswith(f"{100 * found['pair']['accuracy']['value']:+.1f}")
    mcnemar = found["pair"]["mcnemar"]
    assert rows[1][1:3] == [str(mcnemar["only_first"]), str(mcnemar["only_second"])]
    assert "Beside version 2, which serves" in plain(html)
    assert "Paired tests against version 2: section 6." in plain(html)
    assert "is not fair" not in html


def test_the_version_that_serves_itself_stands_beside_its_parent(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        parent = make_tested(MOSTLY_WRONG)
        own = make_other_version(parent)
        own.experiment.config = {**own.experiment.config, "initial_weights": "version:1"}
        make_answered(own, RIGHT)
        factories.make_activation(own)
    auth.login("viewer")
    pack = client.get("/api/v1/versions/2/report").json
    assert (pack["comparison"]["version"], pack["comparison"]["role"]) == (1, "parent")
    assert "Beside version 1, whose weights it began with" in plain(client.get("/versions/2/report").text)
    assert client.get("/api/v1/versions/1/report").json["comparison"]["version"] == 2


def test_where_one_was_not_scored_on_the_images_the_report_says_so(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_activation(make_other_version(make_tested()))
    auth.login("viewer")
    html, pack = both(client)
    assert pack["comparison"]["pair"] is None
    assert pack["comparison"]["problem"] == "The two were not evaluated on the same test images."
    assert "Not compared. The two were not evaluated on the same test images." in plain(html)


def test_validation_images_are_no_ground_for_a_comparison(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        own = make_tested()
        serving = make_other_version(own)
        for version in (own, serving):
            make_answered(version, RIGHT, "validation")
        factories.make_activation(serving)
    auth.login("viewer")
    assert both(client)[1]["comparison"]["pair"] is None


def test_a_rival_that_was_trained_on_the_images_is_no_fair_one(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        own = factories.make_version()
        serving = make_other_version(own)
        for version in (own, serving):
            make_answered(version, RIGHT, "all")
        factories.make_activation(serving)
    auth.login("viewer")
    html, pack = both(client)
    assert pack["comparison"]["trained_on"] == [8, 8]
    assert "Version 2 was trained on 8 of these images: the comparison is not fair." in plain(html)


def test_without_another_version_there_is_nothing_beside_it(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_activation(make_tested())
    auth.login("viewer")
    html, pack = both(client)
    assert pack["comparison"] is None
    assert "Beside version" not in html


def test_a_version_that_serves_for_other_classes_is_no_rival(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        make_tested()
        dataset = factories.make_dataset(classes=("left", "right"))
        factories.make_activation(factories.make_version(factories.make_experiment(dataset, status="succeeded")))
    auth.login("viewer")
    assert both(client)[1]["comparison"] is None
