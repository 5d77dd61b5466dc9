"""Serving: the answer is that of the active version, a switch drops nothing, and damage changes nothing."""

import base64
import contextlib
import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import func, select

from ml import onnx_runtime
from ml.serving import Predictor
from tests.answers import guard, keep_self_test
from tests.conftest import application
from tests.factories import Auth, find_user, make_dataset, make_experiment, make_version
from tests.ml.factories import encoded, noise
from webapp.datasets import contents
from webapp.datasets import service as datasets
from webapp.models import ModelVersion, Prediction, db
from webapp.predictions.active import CHECK_INTERVAL_S, WAITS_S, ActiveModel, active_model
from webapp.predictions.journal import journal
from webapp.registry import service as registry
from webapp.settings import Settings

SWITCH_LIMIT_S = 2.0


@pytest.fixture
def image(app: Flask) -> bytes:
    """A bright image: 'malignant' to the tiny model."""
    with app.app_context():
        return contents.image_bytes(make_dataset(), 1)


@pytest.fixture
def second(settings: Settings, app: Flask) -> Iterator[Flask]:
    """Another process of the same installation."""
    with application(settings) as app:
        yield app


def activate(app: Flask, version_id: int | None = None, leaning: float = 0.0) -> int:
    """The id of the version that is active from now on: a new one if none is named."""
    with app.app_context():
        version = db.session.get(ModelVersion, version_id) if version_id else make_version(leaning=leaning)
        registry.activate(version, "for a test", find_user("researcher"))
        return version.id


def damage(app: Flask, version_id: int) -> Path:
    """Changes one byte of the version's graph in the store."""
    with app.app_context():
        address = db.session.get_one(ModelVersion, version_id).model_sha256
        with datasets.store().fetch(address) as path:
            path.write_bytes(path.read_bytes()[:-1] + b"?")
            return path


def graph(app: Flask, version_id: int) -> bytes:
    with app.app_context(), datasets.store().fetch(db.session.get_one(ModelVersion, version_id).model_sha256) as path:
        return path.read_bytes()


def predict(client: FlaskClient, headers: dict[str, str], data: bytes) -> dict[str, object]:
    answer = client.post("/predict", data=data, headers=headers | {"Content-Type": "image/png"})
    return {"status": answer.status_code, **answer.json}


def test_the_active_version_answers(client: FlaskClient, auth: Auth, image: bytes) -> None:
    version_id = activate(client.application)
    answer = predict(client, auth.token("predict", "viewer"), image)
    assert (answer["status"], answer["model"]["version"]) == (200, version_id)
    (found,) = answer["predictions"]
    assert (found["label"], found["filename"]) == ("malignant", None)
    assert found["probability"] == found["probabilities"]["malignant"] > 0.5
    assert sum(found["probabilities"].values()) == pytest.approx(1)


def test_an_answer_tells_the_operating_point_that_was_locked_on_validation(
    client: FlaskClient, auth: Auth, image: bytes
) -> None:
    point = {"threshold": 0.9999999, "target": "specificity >= 0.95", "chosen_on": "validation"}
    with client.application.app_context():
        version = make_version()
        version.card = {**version.card, "operating_point": point}
        registry.activate(version, "for a test", find_user("researcher"))
    (found,) = predict(client, auth.token("predict", "viewer"), image)["predictions"]
    assert found["operating_point"] == point
    assert found["decision"] == ("malignant" if found["probabilities"]["malignant"] >= 0.9999999 else "benign")


def test_an_answer_that_the_policy_leaves_open_is_no_decision(client: FlaskClient, auth: Auth, image: bytes) -> None:
    policy = {"kind": "conformal", "level": 0.9, "threshold": 1e-9, "n": 40}
    nothing = {"n": 0, "share": {}, "accuracy": {}}
    with client.application.app_context():
        version = make_version()
        found = {"policy": policy, "validation": nothing, "test": nothing}
        version.card = {**version.card, "abstention": found}
        registry.activate(version, "for a test", find_user("researcher"))
    (found,) = predict(client, auth.token("predict", "viewer"), image)["predictions"]
    assert (found["label"], found["decision"], found["abstained"]) == ("malignant", None, True)
    assert found["prediction_set"] == ["benign", "malignant"]
    with client.application.app_context():
        assert journal().flush()
    (row,) = client.get("/api/v1/predictions", headers=auth.token("write", "viewer")).json["items"]
    assert (row["label"], row["decision"], row["abstained"]) == ("malignant", None, True)
    auth.login()
    page = client.post("/try/", data=auth.form(image=(io.BytesIO(image), "a.png"))).text
    assert "The model abstains" in page
    assert "abstained" in client.get("/predictions/").text
    assert "sets that hold the truth" in client.get(f"/versions/{row['version']}").text


def explained(client: FlaskClient, headers: dict[str, str], data: bytes, query: str = "?explain=1") -> Any:
    return client.post(f"/predict{query}", data=data, headers=headers | {"Content-Type": "image/png"})


def test_an_answer_is_explained_where_asked_for(client: FlaskClient, auth: Auth, image: bytes) -> None:
    activate(client.application)
    headers = auth.token("predict")
    (plain,) = explained(client, headers, image, "?explain=0").json["predictions"]
    (found,) = explained(client, headers, image).json["predictions"]
    assert plain["heatmap_png"] is None
    overlay = Image.open(io.BytesIO(base64.b64decode(found["heatmap_png"])))
    assert (overlay.format, overlay.size) == ("PNG", Image.open(io.BytesIO(image)).size)
    assert plain == found | {"heatmap_png": None}
    assert explained(client, headers, image, "?explain=yes").status_code == 422


def test_a_version_of_an_old_release_serves_and_says_that_it_has_no_maps(
    client: FlaskClient, auth: Auth, image: bytes
) -> None:
    with client.application.app_context():
        registry.activate(make_version(explains=False), "for a test", find_user("researcher"))
    headers = auth.token("predict")
    assert explained(client, headers, image, "").status_code == 200
    refused = explained(client, headers, image)
    assert refused.status_code == 409
    assert "class activation maps" in refused.json["detail"]


def test_a_page_of_noise_gets_no_label_and_an_image_of_the_kind_does(client: FlaskClient, auth: Auth) -> None:
    with client.application.app_context():
        dataset = make_dataset(train=40, validation=40)
        version = make_version(make_experiment(dataset, status="succeeded"))
        guard(version)
        registry.activate(version, "for a test", find_user("researcher"))
        usual = contents.image_bytes(dataset, 45)
    headers = auth.token("predict")
    (found,) = explained(client, headers, usual).json["predictions"]
    assert (found["in_domain"], found["label"]) == (True, "malignant")
    (found,) = explained(client, headers, encoded(noise())).json["predictions"]
    names = ("label", "decision", "probability", "heatmap_png", "operating_point", "filename", "prediction_set")
    nothing = dict.fromkeys(names)
    assert found == {**nothing, "probabilities": {}, "in_domain": False, "abstained": True}
    with client.application.app_context():
        assert journal().flush()
        near, far = db.session.scalars(select(Prediction).order_by(Prediction.id))
        assert (
            near.embedding_distance < 0.01 < near.look_distance <= 1 < far.look_distance
        )  # this network has one feature
        assert [row.label for row in db.session.scalars(select(Prediction).order_by(Prediction.id))] == [
            "malignant",
            None,
        ]
    auth.login()
    page = client.post("/try/", data=auth.form(image=(io.BytesIO(encoded(noise())), "a.png"))).text
    assert "Not an image that it knows" in page


def test_an_answer_is_remembered_without_the_image(client: FlaskClient, auth: Auth, image: bytes) -> None:
    version_id = activate(client.application)
    answer = predict(client, auth.token("predict", "viewer"), image)
    with client.application.app_context():
        assert journal().flush()
        row = db.session.scalars(select(Prediction)).one()
        assert (row.version_id, row.user_id) == (version_id, find_user("viewer").id)
        assert row.request_id == answer["request_id"]
        assert (row.label, row.token_id, len(row.image_sha256)) == ("malignant", 1, 64)
        assert {type(value) for value in vars(row).values()}.isdisjoint({bytes, bytearray})


def test_no_active_version_is_a_part_that_is_missing(client: FlaskClient, auth: Auth, image: bytes) -> None:
    answer = client.post("/predict", data=image, headers=auth.token("predict") | {"Content-Type": "image/png"})
    assert (answer.status_code, answer.json["detail"][:26]) == (503, "No model version is active")
    assert int(answer.headers["Retry-After"]) > 0


def until(model: ActiveModel, app: Flask, version_id: int) -> bool:
    """Whether the process serves the version within the limit."""
    deadline_s = time.monotonic() + SWITCH_LIMIT_S
    while time.monotonic() < deadline_s:
        with app.app_context():
            loaded = model.current()
        if loaded and loaded.version == version_id:
            return True
        time.sleep(0.02)
    return False


def test_a_switch_reaches_every_process(app: Flask, second: Flask) -> None:
    models = [(active_model_of(process), process) for process in (app, second)]
    for _ in range(2):
        version_id = activate(app)
        assert all(until(model, process, version_id) for model, process in models)
    with second.app_context():
        earlier = registry.rollback("worse", find_user("researcher")).version_id
    assert all(until(model, process, earlier) for model, process in models)


def active_model_of(app: Flask) -> ActiveModel:
    with app.app_context():
        return active_model()


def test_the_way_back_needs_no_store(app: Flask, client: FlaskClient, auth: Auth, image: bytes) -> None:
    first = activate(app)
    assert until(active_model_of(app), app, first)
    second = activate(app, leaning=1.0)
    assert until(active_model_of(app), app, second)
    for version_id in (first, second):
        damage(app, version_id).unlink()
    for expected in (first, second):
        activate(app, expected)
        assert until(active_model_of(app), app, expected)
        assert predict(client, auth.token("predict"), image)["model"]["version"] == expected


def test_a_version_that_fails_its_self_test_does_not_serve(app: Flask, client: FlaskClient) -> None:
    good = activate(app)
    assert until(active_model_of(app), app, good)
    with app.app_context():
        one, other = make_version(leaning=1.0), make_version(leaning=1.5)
        for version in (one, other):
            keep_self_test(version, says=one)
        numbers = [one.id, other.id]
    activate(app, numbers[0])
    assert until(active_model_of(app), app, numbers[0])
    activate(app, numbers[1])
    time.sleep(1.2 * CHECK_INTERVAL_S)
    health = client.get("/health").json
    assert (health["status"], health["model"]["version"]) == ("degraded", numbers[0])
    assert "fails its self-test" in health["checks"]["model"]


@pytest.mark.parametrize("keeps_self_test", [True, False])
def test_a_version_whose_guard_does_not_fit_it_does_not_serve(
    app: Flask, client: FlaskClient, keeps_self_test: bool
) -> None:
    good = activate(app)
    assert until(active_model_of(app), app, good)
    with app.app_context():
        broken = make_version(make_experiment(make_dataset(train=40, validation=40), status="succeeded"))
        guard(broken, figures=0)
        if keeps_self_test:
            keep_self_test(broken, says=broken)
        number = broken.id
    activate(app, number)
    time.sleep(1.2 * CHECK_INTERVAL_S)
    health = client.get("/health").json
    assert (health["status"], health["model"]["version"]) == ("degraded", good)
    assert "does not fit its graph" in health["checks"]["model"]


def test_a_process_that_was_idle_gives_no_answer_of_the_old_version(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    active = active_model_of(app)
    assert until(active, app, activate(app))
    load = active._load
    monkeypatch.setattr(active, "_load", lambda activation: (time.sleep(0.5), load(activation)))  # a large model
    active._checked_s = active._certain_s = active._checked_s - 60  # nobody asked for a minute
    last, seen = activate(app), []

    def ask() -> None:
        with app.app_context():
            seen.append(active.current().version)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [last] * 8


def test_an_answer_names_the_version_that_gave_it(app: Flask, auth: Auth, image: bytes) -> None:
    headers = auth.token("predict")
    probabilities = {}
    for leaning in (-3.0, 3.0):
        version_id = activate(app, leaning=leaning)
        assert until(active_model_of(app), app, version_id)
        answer = predict(app.test_client(), headers, image)
        assert answer["model"]["version"] == version_id
        probabilities[leaning] = answer["predictions"][0]["probabilities"]["malignant"]
    assert probabilities[3.0] > probabilities[-3.0] + 0.1


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_a_version_that_cannot_be_loaded_leaves_the_old_one_serving_and_says_so(
    app: Flask, client: FlaskClient, auth: Auth, image: bytes, harm: str
) -> None:
    good = activate(app)
    predict(client, auth.token("predict"), image)
    with app.app_context():
        bad = make_version(leaning=1.0).id
    path = damage(app, bad)
    if harm == "gone":
        path.unlink()
    activate(app, bad)
    assert not until(active_model_of(app), app, bad)
    assert predict(client, auth.token("predict"), image)["model"]["version"] == good
    health = client.get("/health")
    assert (health.status_code, health.json["status"], health.json["model"]["version"]) == (200, "degraded", good)
    assert f"Version {bad} cannot be loaded" in health.json["checks"]["model"]
    assert until(active_model_of(app), app, activate(app))
    assert client.get("/health").status_code == 200


def test_a_version_that_cannot_be_loaded_at_first_is_named_in_the_refusal_where_none_came_before(
    app: Flask, client: FlaskClient, auth: Auth, image: bytes
) -> None:
    with app.app_context():
        bad = make_version().id
    damage(app, bad)
    activate(app, bad)
    answer = predict(client, auth.token("predict"), image)
    assert answer["status"] == 503
    assert f"Version {bad} cannot be loaded" in answer["detail"]
    assert client.get("/health").status_code == 503


def test_a_process_that_starts_after_a_damaged_version_was_activated_serves_the_last_that_loads(
    app: Flask, client: FlaskClient, auth: Auth, image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = activate(app)
    with app.app_context():
        worse, worst = make_version(leaning=1.0).id, make_version(leaning=2.0).id
    whole = graph(app, worst)
    path = damage(app, worst)
    damage(app, worse).unlink()
    for version_id in (worse, worst):
        activate(app, version_id)
    assert predict(client, auth.token("predict"), image)["model"]["version"] == good
    health = client.get("/health")
    assert (health.status_code, health.json["status"], health.json["model"]["version"]) == (200, "degraded", good)
    assert f"Version {worst} cannot be loaded" in health.json["checks"]["model"]
    monkeypatch.setattr("webapp.predictions.active.RETRY_INTERVAL_S", 0.0)
    path.write_bytes(whole)
    assert until(active_model_of(app), app, worst)
    assert client.get("/health").json["status"] == "ok"


def hanging(app: Flask, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Until it is set, the store of the application answers nobody."""
    goes_on, store = threading.Event(), app.extensions["store"]
    fetch = store.fetch

    @contextlib.contextmanager
    def hangs(sha256: str) -> Iterator[Path]:
        goes_on.wait(30)
        with fetch(sha256) as path:
            yield path

    monkeypatch.setattr(store, "fetch", hangs)
    return goes_on


def test_a_store_that_hangs_keeps_nobody_waiting_whom_the_old_version_can_answer(
    app: Flask, client: FlaskClient, auth: Auth, image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = auth.token("predict")
    first = activate(app)
    assert until(active_model_of(app), app, first)
    second = activate(app, leaning=-1.0)
    assert until(active_model_of(app), app, second)
    goes_on = hanging(app, monkeypatch)
    activate(app, leaning=1.0)
    took_s = []
    for _ in range(25):
        began_s = time.monotonic()
        assert predict(client, headers, image)["model"]["version"] == second
        took_s.append(time.monotonic() - began_s)
        time.sleep(0.1)
    assert max(took_s) < WAITS_S + 0.5
    assert sum(took > 0.3 for took in took_s) <= 1  # one waited, so that no answer is older than two seconds
    health = client.get("/health").json
    assert (health["status"], health["model"]["version"]) == ("degraded", second)
    assert "is not loaded yet" in health["checks"]["model"]
    activate(app, first)  # is in memory still
    assert until(active_model_of(app), app, first)
    assert client.get("/health").json["status"] == "ok"
    goes_on.set()
    time.sleep(1)  # what was on its way arrives too late
    loaded = active_model_of(app).loaded
    assert loaded
    assert loaded.version == first
    assert client.get("/health").json["status"] == "ok"


def test_loading_once_more_keeps_nobody_waiting(
    app: Flask, client: FlaskClient, auth: Auth, image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = auth.token("predict")
    good = activate(app)
    assert until(active_model_of(app), app, good)
    with app.app_context():
        bad = make_version(leaning=1.0).id
    damage(app, bad)
    activate(app, bad)
    assert not until(active_model_of(app), app, bad)
    monkeypatch.setattr("webapp.predictions.active.RETRY_INTERVAL_S", 0.0)
    goes_on = hanging(app, monkeypatch)
    active = active_model_of(app)
    active._checked_s = active._certain_s = active._checked_s - 60  # nobody asked for a minute
    began_s = time.monotonic()
    for _ in range(5):
        assert predict(client, headers, image)["model"]["version"] == good
        time.sleep(CHECK_INTERVAL_S)
    assert time.monotonic() - began_s < 5 * CHECK_INTERVAL_S + 1
    assert f"Version {bad} cannot be loaded" in client.get("/health").json["checks"]["model"]
    goes_on.set()


def test_an_error_that_nobody_foresaw_while_a_version_is_loaded_is_told(
    app: Flask, client: FlaskClient, auth: Auth, image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_sha256: str) -> Path:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(app.extensions["store"], "fetch", fails)
    version_id = activate(app)
    answer = predict(client, auth.token("predict"), image)
    assert answer["status"] == 503
    assert answer["detail"] == f"Version {version_id} cannot be loaded. An unexpected error was logged."


@pytest.mark.skipif(onnx_runtime.offers_cuda(), reason="this ONNX Runtime knows GPUs")
def test_a_site_told_to_use_a_gpu_that_it_does_not_have_says_so(
    app: Flask, client: FlaskClient, auth: Auth, image: bytes
) -> None:
    app.extensions["settings"] = app.extensions["settings"].model_copy(update={"serving_device": "cuda"})
    activate(app)
    answer = predict(client, auth.token("predict"), image)
    assert answer["status"] == 503
    assert "Predictions were told to use CUDA" in answer["detail"]
    health = client.get("/health")
    assert health.status_code == 503
    assert "or set APP_SERVING_DEVICE=auto" in health.json["checks"]["model"]


class _Failing:
    """The session of a device that fails until it is mended."""

    def __init__(self, session: Any, error: Exception) -> None:
        self._session, self.error = session, error

    def run(self, *given: Any) -> Any:
        if self.error:
            raise self.error
        return self._session.run(*given)


@pytest.mark.parametrize("error", onnx_runtime.DEVICE_ERRORS)
def test_a_device_that_fails_while_it_computes_is_told_until_it_works_again(
    app: Flask,
    client: FlaskClient,
    auth: Auth,
    image: bytes,
    error: type[Exception],
    caplog: pytest.LogCaptureFixture,
) -> None:
    activate(app)
    assert client.get("/health").json["model"]["device"] == "cpu"
    predictor = active_model_of(app).loaded.predictor
    predictor._session = failing = _Failing(predictor._session, error("out of memory"))
    headers = auth.token("predict") | {"Content-Type": "image/png"}
    answer, health = client.post("/predict", data=image, headers=headers), client.get("/health")
    for answered in (answer, health):
        assert (answered.status_code, answered.headers["Retry-After"]) == (503, "5")
    (record,) = [record for record in caplog.records if record.message == "device_failed"]
    assert record.reason == f"{error.__name__}: out of memory"  # once, and for the log alone
    told = "The device 'cpu' failed to compute an answer"
    assert (told in answer.json["detail"], told in health.json["checks"]["model"]) == (True, True)
    auth.login("viewer")
    page = client.post("/try/", data=auth.form(image=(io.BytesIO(image), "image.png")))
    assert (page.status_code, page.headers["Retry-After"], "failed to compute" in page.text) == (503, "5", True)
    failing.error = None
    assert client.get("/health").status_code == 200
    assert client.post("/predict", data=image, headers=headers).status_code == 200


@pytest.mark.parametrize(("device", "seconds", "signals"), [("cuda", 31, 2), ("cuda", 29, 0), ("cpu", 31, 0)])
def test_a_process_whose_gpu_stays_lost_ends(
    app: Flask,
    client: FlaskClient,
    auth: Auth,
    image: bytes,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    seconds: float,
    signals: int,
) -> None:
    """Gunicorn's master starts another in its place; here nobody would, so the signal is only noted."""
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    activate(app)
    client.get("/health")
    predictor = active_model_of(app).loaded.predictor
    predictor._session, predictor.device = _Failing(predictor._session, RuntimeError("CUDA failure 700")), device
    headers = auth.token("predict") | {"Content-Type": "image/png"}
    client.post("/predict", data=image, headers=headers)
    predictor._failing_since_s -= seconds
    assert client.post("/predict", data=image, headers=headers).status_code == 503
    assert client.get("/health").status_code == 503
    assert sent == signals * [(os.getpid(), signal.SIGTERM)]


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_gpu_that_opens_a_session_and_cannot_compute_is_gone_without_only_where_that_is_allowed(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, device: str
) -> None:
    """As one that is older than the CUDA of the runtime: it fails at its first program."""
    app.extensions["settings"] = app.extensions["settings"].model_copy(update={"serving_device": device})
    opened = onnx_runtime.session

    def of_an_old_gpu(path: Path, threads: int, asked: str = "cpu") -> Any:
        return opened(path, threads) if asked == "cpu" else _Failing(None, RuntimeError("no kernel image"))

    monkeypatch.setattr(_Failing, "get_outputs", lambda self: [], raising=False)
    monkeypatch.setattr(Predictor, "_check_signature", lambda self: None)
    monkeypatch.setattr(onnx_runtime, "session", of_an_old_gpu)
    monkeypatch.setattr(onnx_runtime, "device_of", lambda one: "cuda" if isinstance(one, _Failing) else "cpu")
    activate(app)
    health = client.get("/health")
    if device == "auto":
        assert (health.status_code, health.json["model"]["device"]) == (200, "cpu")
        assert "cuda_not_usable" in caplog.messages
    else:
        assert (health.status_code, health.json["model"]) == (503, None)
        assert "The device 'cuda' failed to compute" in health.json["checks"]["model"]


def test_a_graph_that_is_not_the_one_on_its_card_is_refused(app: Flask, client: FlaskClient) -> None:
    with app.app_context():
        three = make_version(make_experiment(make_dataset(classes=("a", "b", "c"))))
        version = make_version(files=three.files)
        version_id = version.id
    activate(app, version_id)
    assert "cannot be loaded" in client.get("/health").json["checks"]["model"]


def test_equal_graphs_of_versions_with_other_classes_are_not_confused(
    app: Flask, client: FlaskClient, auth: Auth, image: bytes
) -> None:
    for classes in (("benign", "malignant"), ("dark", "light")):
        with app.app_context():
            version_id = make_version(make_experiment(make_dataset(classes=classes))).id
        activate(app, version_id)
        assert until(active_model_of(app), app, version_id)
        answer = predict(client, auth.token("predict"), image)
        assert tuple(answer["predictions"][0]["probabilities"]) == classes


def test_a_database_that_is_away_for_a_moment_does_not_stop_the_model(settings: Settings, app: Flask) -> None:
    version_id = activate(app)
    assert until(active_model_of(app), app, version_id)
    database = settings.data_dir / "platform.db"
    with app.app_context():
        db.engine.dispose()
    database.rename(settings.data_dir / "away.db")
    try:
        time.sleep(1.2 * CHECK_INTERVAL_S)
        assert until(active_model_of(app), app, version_id)
    finally:
        (settings.data_dir / "away.db").replace(database)


def test_a_bad_image_among_several_is_an_error_in_its_own_place(client: FlaskClient, auth: Auth, image: bytes) -> None:
    activate(client.application)
    parts = [(io.BytesIO(image), "a.png"), (io.BytesIO(b"no image"), "b.png"), (io.BytesIO(image), "c.png")]
    answer = client.post("/predict", data={"image": parts}, headers=auth.token("predict"))
    assert answer.status_code == 200
    assert [item["filename"] for item in answer.json["predictions"]] == ["a.png", "b.png", "c.png"]
    assert ["error" in item for item in answer.json["predictions"]] == [False, True, False]
    with client.application.app_context():
        assert journal().flush()
        assert db.session.scalar(select(func.count()).select_from(Prediction)) == 2


def test_too_many_or_too_large_images_are_refused(settings: Settings, auth: Auth, image: bytes) -> None:
    headers, texts = auth.token("predict"), [base64.b64encode(image).decode()] * 3
    with application(settings.model_copy(update={"max_images_per_request": 2, "max_image_mb": 1})) as small:
        activate(small)
        client = small.test_client()
        assert client.post("/predict", json={"images": texts[:2]}, headers=headers).status_code == 200
        assert client.post("/predict", json={"images": texts}, headers=headers).status_code == 413
        assert predict(client, headers, b"x" * 1_100_000)["status"] == 413
