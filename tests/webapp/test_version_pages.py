"""Versions, evaluations and activations in the browser."""

import hashlib
import json
import re

from flask import Flask
from flask.testing import FlaskClient

from tests import factories
from tests.factories import Auth
from webapp.models import ModelVersion, db
from webapp.registry import service


def test_a_version_shows_its_scores_with_intervals_and_its_errors(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        evaluation = factories.make_evaluation(factories.make_version(leaning=9.0))
        auc, errors = evaluation.metrics["auc"], evaluation.confident_errors
    auth.login("viewer")
    html = client.get("/versions/1").text
    assert f"<strong>{auc['value']:.3f}</strong>" in html
    assert f"({auc['low']:.3f}–{auc['high']:.3f})" in html
    assert errors
    assert f"/datasets/1/thumbnails/{errors[0]['number']}" in html
    assert f"Truth: <strong>{errors[0]['truth']}</strong>" in html


def test_the_rows_of_the_confusion_matrix_are_the_truth_and_said_in_words(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        metrics = factories.make_evaluation(factories.make_version()).metrics
        confusion = {"labels": ["benign", "malignant"], "rows_are": "truth", "matrix": [[90, 24], [5, 37]]}
        db.session.execute(db.text("DELETE FROM evaluation"))
        factories.make_evaluation(db.session.get_one(ModelVersion, 1), metrics={**metrics, "confusion": confusion})
    auth.login("viewer")
    html = re.sub(r"\s+", " ", client.get("/versions/1").text)
    assert "24 of 114 images of benign were called malignant" in html
    assert "Of 42 images of “malignant”, 37 were found and 5 missed. Of 114 images of “benign”, 24 raised" in html


def test_the_roc_curve_carries_its_operating_point(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        metrics = factories.make_evaluation(factories.make_version()).metrics
    auth.login("viewer")
    found = re.search(r'data-chart-of="roc-curve">(.*?)</script>', client.get("/versions/1").text)
    assert found
    data = json.loads(found[1])
    assert data["fpr"] == metrics["roc"]["fpr"]
    assert data["point"]["tpr"] == metrics["sensitivity"]["value"]


def test_a_version_of_many_classes_has_a_page_too(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        dataset = factories.make_dataset(classes=("a", "b", "c"), train=9, validation=6, test=6)
        factories.make_evaluation(factories.make_version(factories.make_experiment(dataset, status="succeeded")))
    auth.login("viewer")
    html = client.get("/versions/1").text
    assert "means over the classes" in html
    assert "Sensitivity" not in html


def test_a_file_is_sent_under_a_name_that_tells_its_version(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        sha256 = factories.make_version().model_sha256
    auth.login("viewer")
    with client.get("/versions/1/files/model.onnx") as answer:
        assert hashlib.sha256(answer.data).hexdigest() == sha256
        assert answer.headers["ETag"] == f'"{sha256}"'
        assert "version-1-model.onnx" in answer.headers["Content-Disposition"]
        assert answer.content_length == len(answer.data)
    with client.get("/versions/1/files/model.onnx", headers={"If-None-Match": f'"{sha256}"'}) as again:
        assert again.status_code == 304
    assert client.get("/versions/1/files/secret_key").status_code == 404


def test_a_file_is_the_same_from_the_page_and_from_the_interface(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        names = list(factories.make_version().files)
    auth.login("viewer")
    for name in names:
        with client.get(f"/versions/1/files/{name}") as page, client.get(f"/api/v1/versions/1/files/{name}") as answer:
            assert answer.data == page.data
            for header in ("Content-Length", "ETag", "Content-Disposition", "Content-Type"):
                assert answer.headers[header] == page.headers[header]
    assert "model.onnx" in client.get("/api/v1/versions/1/files/nothing").json["detail"]


def test_an_activation_needs_a_reason_and_tells_it_afterwards(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_version()
    auth.login()
    refused = client.post("/versions/1/activate", data=auth.form(reason=" "))
    assert refused.status_code == 422
    assert 'id="f-reason-error"' in refused.text
    assert client.post("/versions/1/activate", data=auth.form(reason="better AUC")).location == "/versions/1"
    html = client.get("/versions/activations").text
    assert "better AUC" in html
    assert "researcher@example.org" in html


def test_a_roll_back_returns_to_the_version_before(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        first = factories.make_version()
        experiment = factories.make_experiment(first.experiment.dataset, status="succeeded")
        for version in (first, factories.make_version(experiment)):
            factories.make_activation(version)
    auth.login()
    assert client.post("/versions/rollback", data=auth.form(reason=" ")).status_code == 422
    assert (
        client.post("/versions/rollback", data=auth.form(reason="too many alarms")).location == "/versions/activations"
    )
    with app.app_context():
        activation = service.active()
        assert activation
        assert (activation.version_id, activation.is_rollback) == (1, True)
    refused = client.post("/versions/rollback", data=auth.form(reason="further"))
    assert refused.status_code == 409
    assert "no earlier version" in refused.text


def test_an_evaluation_on_another_data_set_is_queued_and_watched(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_version()
        factories.make_dataset("External hospital")
        factories.make_dataset("Other classes", classes=("a", "b"))
    auth.login()
    html = client.get("/versions/1").text
    assert "External hospital" in html
    assert "Other classes" not in html
    answer = client.post("/versions/1/evaluations", data=auth.form(dataset_id="2", split="all"))
    assert answer.location == "/versions/evaluations/1"
    assert "Version 1 on all images of External hospital" in client.get(answer.location).text
    assert 'hx-get="/versions/evaluations/1/live"' in client.get("/versions/evaluations/1/live").text


def test_a_finished_evaluation_shows_its_scores_and_is_polled_no_more(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        factories.make_evaluation(factories.make_version(), split="validation")
    auth.login("viewer")
    html = client.get("/versions/evaluations/1/live").text
    assert "hx-trigger" not in html
    assert "Scores on 4 validation images" in html


def test_a_viewer_may_read_but_not_decide(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_version()
    auth.login("viewer")
    assert "/versions/1/activate" not in client.get("/versions/1").text
    assert client.post("/versions/1/activate", data=auth.form(reason="mine")).status_code == 403
