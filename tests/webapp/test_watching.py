"""Drift and live scores: on the page, and as a monitoring system reads them."""

import datetime
import json
import re

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml import drift as spreads
from ml import incoming
from tests import answers, factories
from tests.factories import Auth
from tests.webapp.test_metrics import read
from webapp.models import ModelVersion, Prediction, db, now
from webapp.predictions import drift, feedback
from webapp.predictions import incoming as came


def with_reference(scores: np.ndarray) -> ModelVersion:
    """The active version, whose validation images had these scores of the last class."""
    version = factories.make_activation().version
    kept = spreads.reference(np.column_stack([1 - scores, scores]), version.classes, version.positive_class, None)
    version.card = {**version.card, "reference": kept.model_dump(mode="json")}
    db.session.commit()
    return version


def answer(version: ModelVersion, scores: np.ndarray, days: float = 0) -> None:
    """Answers with these scores, so many days ago."""
    at, user = now() - datetime.timedelta(days=days, minutes=1), factories.find_user("researcher")
    for number, score in enumerate(scores.tolist()):
        label = version.classes[score >= 0.5]
        db.session.add(
            Prediction(
                version=version,
                user=user,
                request_id=f"request-{days}-{number}",
                image_sha256="a" * 64,
                label=label,
                probability=max(score, 1 - score),
                probabilities={},
                latency_ms=1.0,
                created_at=at,
            )
        )
    db.session.commit()


def test_answers_of_each_window_are_compared_with_validation(any_context: Flask) -> None:
    even = np.linspace(0, 1, 121)
    version = with_reference(even)
    answer(version, np.linspace(0.6, 1, 80))
    answer(version, np.repeat(even, 10), days=3)
    answer(version, np.zeros(2000), days=8)
    found = drift.watch(version).drifts
    assert (found["day"].n, found["day"].scores.level, found["day"].answers.level) == (80, "large", "large")
    assert (found["week"].n, found["week"].scores.level) == (80 + 1210, "none")
    assert found["day"].test.p_value < 1e-6


def test_the_very_scores_of_validation_show_no_distance(any_context: Flask) -> None:
    scores = np.linspace(0, 1, 61).round(4)
    version = with_reference(scores)
    answer(version, scores)
    found = drift.watch(version).drifts["day"]
    assert (found.scores.psi, found.answers.psi, found.test.distance) == pytest.approx((0, 0, 0), abs=1e-12)


def test_a_version_of_before_is_compared_with_its_evaluation_on_validation(context: Flask) -> None:
    version = factories.make_version()
    assert drift.watch(version).drifts == {}
    answers.make_answered(version, [0.2, 0.7, 0.9], split="validation")
    found = drift.watch(version)
    assert (found.reference.n, found.reference.answered) == (4, {"benign": 2, "malignant": 2})
    assert found.drifts["day"].scores.level == "too few"


def test_the_page_shows_drift_with_its_charts_and_its_doubts(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        version = with_reference(np.linspace(0, 1, 100))
        answer(version, np.full(60, 0.97))
    auth.login("viewer")
    html = client.get("/predictions/watching").text
    assert "large drift" in html
    assert "100 images of validation" in html
    assert "not that answers are wrong" in html
    chart = json.loads(re.search(r'data-chart-of="classes">(.*?)</script>', html)[1])
    assert chart["lines"][1] == {"name": "24 hours", "values": [0.0, 1.0]}


def test_the_page_says_what_to_do_where_nothing_is_known(app: Flask, client: FlaskClient, auth: Auth) -> None:
    auth.login("viewer")
    assert "No version is active" in client.get("/predictions/watching").text
    with app.app_context():
        factories.make_version()
    assert "Evaluate it" in client.get("/predictions/watching?version=1").text
    assert client.get("/predictions/watching?version=99").status_code == 404
    assert client.get("/predictions/watching?version=latest").status_code == 422


def test_live_scores_are_on_both_pages_with_their_number_and_a_warning(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        factories.make_prediction(factories.make_version())
        feedback.give([feedback.Truth("0123456789abcdef", 0, "malignant")], factories.find_user("researcher"))
    auth.login("viewer")
    for url in ("/predictions/", "/predictions/watching"):
        html = client.get(url).text
        assert "selected sample" in html
        assert 'truth=given">1</a>' in html
        assert "(20.7–100.0" in html


def test_monitoring_reads_drift_and_live_scores(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        version = with_reference(np.linspace(0, 1, 100))
        answer(version, np.full(60, 0.97))
        user = factories.find_user("researcher")
        feedback.give([feedback.Truth(f"request-0-{number}", 0, "malignant") for number in range(3)], user)
        feedback.give([feedback.Truth("request-0-3", 0, "benign")], user)
        expected = drift.watch(version).drifts["day"].scores.psi
    found = read(client, auth.token("predict"))
    assert found["platform_drift_psi", "scores", "1", "day"] == pytest.approx(expected)
    assert found["platform_drift_level", "answers", "1", "week"] == 2
    assert found["platform_drift_ks_p_value", "1", "day"] < 1e-6
    assert (found["platform_feedback", "1"], found["platform_live_accuracy", "1"]) == (4, 0.75)
    assert (found["platform_live_sensitivity", "1"], found["platform_live_specificity", "1"]) == (1, 0)


def test_monitoring_counts_the_truths_anew_after_five_minutes(
    app: Flask, client: FlaskClient, auth: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise each look of Prometheus would read every truth that was ever told."""
    headers = auth.token("predict")
    with app.app_context():
        answer(factories.make_version(), np.full(2, 0.9))

    def known_after(place: int) -> float:
        with app.app_context():
            told = feedback.Truth(f"request-0-{place}", 0, "malignant")
            feedback.give([told], factories.find_user("researcher"))
        return read(client, headers)["platform_feedback", "1"]

    assert [known_after(0), known_after(1)] == [1, 1]
    monkeypatch.setattr("webapp.lately.FRESH_S", 0.0)
    assert known_after(1) == 2


def test_client_systems_read_the_same_as_json(app: Flask, client: FlaskClient, auth: Auth) -> None:
    headers = auth.token("write")
    with app.app_context():
        version = with_reference(np.linspace(0, 1, 100))
        factories.make_version()
        answer(version, np.full(60, 0.97))
        feedback.give([feedback.Truth("request-0-0", 0, "malignant")], factories.find_user("researcher"))
    found = client.get("/api/v1/versions/1/watching", headers=headers).json
    assert (found["feedback"], found["live"]["accuracy"]["value"], found["live"]["specificity"]["value"]) == (
        1,
        1,
        None,
    )
    assert (found["validation_images"], found["drift"]["day"]["scores"]["level"]) == (100, "large")
    silent = client.get("/api/v1/versions/2/watching", headers=headers).json
    nothing = {"live": {}, "drift": {}, "outside": {}, "features": {}}
    assert silent == {"version": 2, "feedback": 0, "validation_images": None, **nothing}


def guarded(**distances: object) -> ModelVersion:
    """The active version, whose guard saw 200 images of validation; None: it kept no distances."""
    version = factories.make_activation().version
    rule = {"n": 200, "within": 0.98, "distances": incoming.Distances.of(usual(200)).model_dump(), **distances}
    version.card = {**version.card, "domain": rule}
    db.session.commit()
    return version


def usual(n: int, stretch: float = 1.0) -> np.ndarray:
    """Distances of images of the kind."""
    even = (np.arange(n) + 0.5) / n
    return stretch * np.stack([even, even**2])


def come(version: ModelVersion, distances_2N: np.ndarray, days: float = 0) -> None:
    """Images at these distances, so many days ago; those beyond a limit have no label."""
    at = now() - datetime.timedelta(days=days, minutes=1)
    facts = {"version_id": version.id, "user_id": factories.find_user().id, "created_at": at, "latency_ms": 1.0}
    for embedding, look in distances_2N.T.tolist():
        is_foreign = max(embedding, look) > 1
        said = {"label": None if is_foreign else "benign", "probability": None if is_foreign else 0.9}
        row = {"request_id": "01234567", "image_sha256": "a" * 64, "probabilities": {}, "is_abstained": is_foreign}
        db.session.add(Prediction(**facts, **said, **row, embedding_distance=embedding, look_distance=look))
    db.session.commit()


def test_images_that_the_guard_refuses_are_seen_though_they_have_no_score(any_context: Flask) -> None:
    version = guarded()
    come(version, np.full((2, 120), 1.7))
    come(version, usual(1_500), days=3)
    found, scores = came.watch(version), drift.watch(version)
    assert scores.samples["day"].n == 0
    assert (found.outside["day"].n, found.outside["day"].outside, found.outside["day"].level) == (120, 120, "large")
    assert (found.outside["week"].n, found.outside["week"].level) == (1_620, "moderate")
    assert {kind: one.shift.level for kind, one in found.moved["day"].items()} == {
        "embedding": "large",
        "look": "large",
    }
    assert {kind: one.shift.level for kind, one in found.moved["week"].items()} == {"embedding": "none", "look": "none"}
    assert found.moved["week"]["look"].n == 1_620


def test_each_distance_drifts_by_itself_inside_the_domain_too(any_context: Flask) -> None:
    version = guarded()
    embedding, look = usual(300)
    come(version, np.stack([0.4 + 0.6 * embedding, look]))
    found = came.watch(version)
    assert found.outside["day"].level == "none"
    assert {kind: one.shift.level for kind, one in found.moved["day"].items()} == {"embedding": "large", "look": "none"}
    assert found.moved["day"]["embedding"].test.p_value < 1e-6


def test_a_guard_of_an_earlier_release_tells_only_how_many_are_outside(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        version = guarded(distances=None)
        come(version, np.full((2, 60), 1.7))
    auth.login("viewer")
    html = client.get("/predictions/watching").text
    assert "kept no distances" in html
    assert re.search(r'domain=outside">60 of 60</a>, <strong>100.0', html)
    headers = auth.token("predict")
    assert ("platform_drift_psi", "look", "1", "day") not in read(client, headers)
    assert read(client, headers)["platform_outside_share", "1", "day"] == 1


def test_a_version_without_a_guard_says_so(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_activation()
    auth.login("viewer")
    assert "has no guard" in client.get("/predictions/watching").text


def test_foreign_images_and_drifting_features_are_on_the_page_in_json_and_in_metrics(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        come(guarded(), usual(100, stretch=2))
    auth.login("viewer")
    html = client.get("/predictions/watching").text
    assert "of 200 images of validation 2.0" in html
    assert "large drift" in html
    chart = json.loads(re.search(r'data-chart-of="look">(.*?)</script>', html)[1])
    assert [line["name"] for line in chart["lines"]] == ["Validation", "24 hours", "7 days"]
    assert sum(chart["lines"][0]["values"][:10]) == pytest.approx(1)  # within the limit
    assert sum(chart["lines"][1]["values"]) == pytest.approx(1)
    found = client.get("/api/v1/versions/1/watching", headers=auth.token("write")).json
    assert (found["outside"]["day"]["level"], found["outside"]["day"]["outside"]) == ("large", 50)
    assert found["features"]["week"]["look"]["shift"]["level"] == "large"
    metrics = read(client, auth.token("predict"))
    assert metrics["platform_outside_share", "1", "day"] == 0.5
    assert metrics["platform_outside_level", "1", "week"] == 2
    assert metrics["platform_drift_level", "embedding", "1", "week"] == 2
    assert metrics["platform_drift_psi", "look", "1", "day"] == found["features"]["day"]["look"]["shift"]["psi"]
