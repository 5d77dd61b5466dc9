"""What a monitoring system reads."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import delete

from tests import factories
from tests.conftest import application
from tests.factories import Auth
from webapp import queue
from webapp.datasets import contents
from webapp.datasets import service as datasets
from webapp.models import Prediction, db
from webapp.settings import Settings

Samples = dict[tuple[str, ...], float]


def read(client: FlaskClient, headers: dict[str, str]) -> Samples:
    """Each value by its name and the values of its labels."""
    answer = client.get("/metrics", headers=headers)
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_rows_and_waiting_jobs_are_counted(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        dataset = factories.make_dataset()
        factories.make_dataset(status="pending")
        for status in ("failed", "failed", "running"):
            factories.make_experiment(dataset, status=status)
        queue.ring(queue.TRAIN, 3)
    found = read(client, auth.token("predict", "viewer"))
    assert {name: value for name, value in found.items() if name[0] in ("platform_rows", "platform_queue_jobs")} == {
        ("platform_rows", "dataset", "ready"): 1,
        ("platform_rows", "dataset", "pending"): 1,
        ("platform_rows", "experiment", "failed"): 2,
        ("platform_rows", "experiment", "running"): 1,
        ("platform_queue_jobs", "ingest"): 0,
        ("platform_queue_jobs", "evaluation"): 0,
        ("platform_queue_jobs", "learning-rate"): 0,
        ("platform_queue_jobs", "prediction"): 0,
        ("platform_queue_jobs", "training"): 1,
    }


def test_answers_are_counted_by_the_version_that_gave_them(app: Flask, client: FlaskClient, auth: Auth) -> None:
    headers = auth.token("predict")
    with app.app_context():
        version = factories.make_activation().version
        version_id, image = version.id, contents.image_bytes(version.experiment.dataset, 0)
    for _ in range(3):
        client.post("/predict", data=image, headers=headers | {"Content-Type": "image/png"})
    assert app.extensions["journal"].flush()
    found = read(client, headers)
    assert found["platform_predictions_total", str(version_id)] == 3
    assert found["platform_active_version",] == found["platform_loaded_version",] == version_id


def test_settled_answers_are_counted_once(
    app: Flask, client: FlaskClient, auth: Auth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.predictions.history.SETTLED_S", 0.0)
    headers = auth.token("predict", "viewer")
    with app.app_context():
        version = factories.make_version()
        for total in (2, 4, 6):
            for _ in range(2):
                factories.make_prediction(version)
            assert read(client, headers)["platform_predictions_total", str(version.id)] == total
        db.session.execute(delete(Prediction).where(Prediction.id <= 4))  # nothing does this: it shows what is kept
        db.session.commit()
        assert read(client, headers)["platform_predictions_total", str(version.id)] == 6


def test_stages_and_refused_images_add_up_over_processes(
    settings: Settings, app: Flask, client: FlaskClient, auth: Auth
) -> None:
    headers = auth.token("predict") | {"Content-Type": "image/png"}
    with app.app_context():
        image = contents.image_bytes(factories.make_activation().version.experiment.dataset, 0)
    with application(settings) as second:
        for process, data, query in ((app, image, ""), (second, image, "?explain=1"), (second, b"no image", "")):
            process.test_client().post(f"/predict{query}", data=data, headers=headers)
        assert second.extensions["journal"].flush()
    app.extensions["journal"].stop()
    found = read(client, headers)
    for stage in ("decode", "model", "whole"):
        assert found["platform_predict_seconds_count", stage] == 2
        assert 0 < found["platform_predict_seconds_sum", stage] < 60
    assert found["platform_undecoded_images_total",] == 1


def test_a_version_that_cannot_be_loaded_shows_as_active_and_not_loaded(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        version = factories.make_activation().version
        datasets.store().delete(version.model_sha256)
    found = read(client, auth.token("predict"))
    assert found["platform_active_version",] == 1
    assert ("platform_loaded_version",) not in found


def test_a_queue_that_is_away_hides_only_its_own_figures(settings: Settings) -> None:
    with application(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})) as app:
        auth = Auth(app.test_client())
        with app.app_context():
            factories.make_dataset()
        assert read(auth.client, auth.token("predict")) == {("platform_rows", "dataset", "ready"): 1}
