"""What a monitoring system reads."""

import datetime
import time

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from rq import SimpleWorker
from rq.serializers import JSONSerializer
from rq.utils import utcformat
from sqlalchemy import delete

from ml.config import TrainConfig
from tests import factories
from tests.conftest import application
from tests.factories import Auth
from tests.sites import wait_until
from tests.webapp.test_search_service import make_search
from webapp import queue, security, traffic
from webapp.datasets import contents
from webapp.datasets import service as datasets
from webapp.models import Prediction, db
from webapp.predictions import tally, turns
from webapp.settings import Settings
from webapp.studies import service as studies

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
        found = read(auth.client, auth.token("predict"))
        assert found == {("platform_rows", "dataset", "ready"): 1, ("platform_predict_places",): 24}


def test_every_request_is_counted_with_those_that_are_refused_before_a_view_runs(
    settings: Settings, client: FlaskClient, auth: Auth
) -> None:
    headers = auth.token("predict", "viewer")
    with application(settings.model_copy(update={"address_limit": "5 per minute"})) as second:
        asks = second.test_client()
        asks.post("/predict", data=b"x")
        asks.get("/nothing/of/patient-name")
        asks.open("/predict", method="BREW")
        asks.post("/predict", data=b"x", headers=headers | {"Content-Type": "image/png"})
        asks.get("/datasets/7", headers=headers)
        asks.get("/login")
    found = {name[1:]: value for name, value in read(client, headers).items() if name[0] == "platform_requests_total"}
    assert found == {
        ("POST", "predict", "401"): 1,
        ("GET", "nowhere", "302"): 1,
        ("other", "nowhere", "401"): 1,
        ("POST", "predict", "503"): 1,
        ("GET", "pages", "403"): 1,
        ("GET", "pages", "429"): 1,
    }


def test_errors_are_counted_too(app: Flask, client: FlaskClient, auth: Auth) -> None:
    app.add_url_rule("/broken", "broken", security.allow("viewer", "predict")(lambda: 1 / 0))
    headers = auth.token("predict")
    assert client.get("/broken", headers=headers).status_code == 500
    app.extensions["journal"].stop()
    assert read(client, headers)["platform_requests_total", "GET", "pages", "500"] == 1


def test_no_part_of_the_site_is_named_by_an_address(app: Flask) -> None:
    parts = {traffic.part_of(rule.endpoint) for rule in app.url_map.iter_rules()}
    assert parts == {"api", "files", "health", "metrics", "pages", "predict", "uploads"}


def test_places_before_the_model_are_told_while_they_are_taken_and_where_none_is_free(
    settings: Settings, auth: Auth, client: FlaskClient
) -> None:
    with (
        application(settings.model_copy(update={"max_predicts_in_flight": 1})) as second,
        second.app_context(),
        turns.taken(),
    ):
        time.sleep(0.05)
        with pytest.raises(turns.Busy), turns.taken():
            pass
    found = read(client, auth.token("predict"))
    assert found["platform_predict_busy_total",] == 1
    assert 0.05 < found["platform_predict_occupied_seconds_total",] < 1
    assert found["platform_predict_places",] == 12 * settings.web_concurrency


def test_counts_wait_for_a_redis_that_is_away(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.predictions.tally.AWAY_S", 0.2)
    monkeypatch.setattr("webapp.predictions.journal.AWAY_S", 0.2)
    journal, redis = app.extensions["journal"], app.extensions["redis"]
    journal.tally._redis = queue.connect("redis://127.0.0.1:1/0")
    journal.count("busy")
    time.sleep(0.5)
    assert journal.tally.count("busy") is False
    journal.tally._redis = redis
    wait_until(lambda: tally.Told(redis).busy == 2, timeout_s=10)


def test_the_age_of_a_workers_heartbeat_is_told_until_it_leaves(app: Flask, client: FlaskClient, auth: Auth) -> None:
    headers = auth.token("predict")
    with app.app_context():
        worker = SimpleWorker(list(queue.QUEUES), connection=queue.connection(), serializer=JSONSerializer)
        worker.register_birth()
        long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=90)
        queue.connection().hset(worker.key, "last_heartbeat", utcformat(long_ago))
    assert 90 <= read(client, headers)["platform_worker_heartbeat_age_seconds", worker.name] < 120
    worker.heartbeat()
    assert 0 <= read(client, headers)["platform_worker_heartbeat_age_seconds", worker.name] < 30
    worker.register_death()
    assert ("platform_worker_heartbeat_age_seconds", worker.name) not in read(client, headers)


def test_searches_and_studies_have_a_status_like_jobs(any_app: Flask, any_auth: Auth) -> None:
    with any_app.app_context():
        user = make_search().created_by
        for first, other in (("queued", "queued"), ("failed", "failed"), ("running", "queued")):
            study = studies.create(factories.make_dataset().id, "Three", "seeds", 3, TrainConfig(epochs=1), user)
            for member in study.members:
                member.status = first if member.member == 1 else other
        db.session.commit()
    found = read(any_auth.client, any_auth.token("predict"))
    assert {name[1:]: value for name, value in found.items() if len(name) > 1 and name[1] in ("search", "study")} == {
        ("search", "running"): 1,
        ("study", "queued"): 1,
        ("study", "failed"): 1,
        ("study", "running"): 1,
    }
