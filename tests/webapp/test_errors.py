"""Every refusal has one shape for client systems and one page for people, and junk never breaks the site."""

import contextlib
import errno
import io
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from gunicorn.http.errors import InvalidChunkSize
from pydantic import TypeAdapter
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ml.errors import BadImage
from tests.conftest import application
from tests.factories import Auth, make_dataset, make_version
from webapp import errors
from webapp.datasets import service as datasets
from webapp.models import db
from webapp.peer import Crowded, SlowClient
from webapp.security import allow
from webapp.settings import Settings
from webapp.storage import DamagedObject, MissingObject, StoreAway

RAISED: dict[str, tuple[Exception, int]] = {
    "not found": (errors.NotFound("There is no data set 9."), 404),
    "conflict": (errors.Conflict("It is running."), 409),
    "too large": (errors.TooLarge("The body has 9 MiB."), 413),
    "unsupported": (errors.UnsupportedMedia("This is no zip."), 415),
    "invalid": (errors.Invalid("The name is empty.", {"name": "1 to 200 characters"}), 422),
    "science": (BadImage("The file is empty."), 422),
    "part away": (errors.Unavailable("No model version is active."), 503),
    "database away": (OperationalError("SELECT secret", {}, Exception("at 10.0.0.7")), 503),
    "queue away": (RedisConnectionError("at 10.0.0.7"), 503),
    "row twice": (IntegrityError("INSERT secret", {}, Exception("at 10.0.0.7")), 409),
    "no connection free": (PoolTimeoutError("QueuePool limit"), 503),
    "object gone": (MissingObject("The store has no object 00."), 503),
    "object changed": (DamagedObject("An object has the sha256 00."), 503),
    "store away": (StoreAway("PUT http://10.0.0.7/secret"), 503),
    "disk full": (OSError(errno.ENOSPC, "secret"), 503),
    "file as large as may be": (OSError(errno.EFBIG, "secret"), 503),
    "disk out of order": (OSError(errno.EIO, "secret"), 503),
    "another fault of the system": (OSError(errno.EACCES, "secret"), 500),
    "half a chunk": (InvalidChunkSize(b"no number"), 400),
    "too slow": (SlowClient(), 408),
    "too many that are slow": (Crowded(), 503),
    "unforeseen": (ZeroDivisionError("secret"), 500),
}


def raising(error: Exception) -> Callable[[], str]:
    @allow("viewer")
    def view() -> str:
        raise error

    return view


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of an application with a view for each error."""
    for number, (error, _) in enumerate(RAISED.values()):
        app.add_url_rule(f"/api/v1/raise/{number}", f"api_{number}", raising(error))
        app.add_url_rule(f"/raise/{number}", f"page_{number}", raising(error))
    return app.test_client()


@pytest.mark.parametrize("kind", RAISED)
def test_a_client_system_gets_problem_json(auth: Auth, client: FlaskClient, kind: str) -> None:
    error, status = RAISED[kind]
    answer = client.get(f"/api/v1/raise/{list(RAISED).index(kind)}", headers=auth.token())
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert answer.json["status"] == status
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]
    assert {"type", "title", "detail"} < set(answer.json)
    assert ("Retry-After" in answer.headers) is (status == 503)
    if isinstance(error, errors.AppError):
        assert answer.json["detail"] == str(error)


@pytest.mark.parametrize("kind", RAISED)
def test_a_person_gets_a_page_in_words(auth: Auth, client: FlaskClient, kind: str) -> None:
    auth.login("viewer")
    error, status = RAISED[kind]
    answer = client.get(f"/raise/{list(RAISED).index(kind)}")
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert "{" not in answer.text.split("<main")[1].split("</main")[0]
    if isinstance(error, errors.AppError):
        assert str(error) in answer.text


@pytest.mark.parametrize(
    "kind", ["database away", "queue away", "row twice", "disk full", "another fault of the system", "unforeseen"]
)
def test_what_went_wrong_inside_goes_to_the_log_and_to_nobody_else(
    auth: Auth, client: FlaskClient, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    answer = client.get(f"/api/v1/raise/{list(RAISED).index(kind)}", headers=auth.token())
    assert "secret" not in answer.text
    assert "10.0.0.7" not in answer.text
    assert any(record.exc_info for record in caplog.records)


def test_fields_at_fault_are_named(auth: Auth, client: FlaskClient) -> None:
    config = {"network": "vgg", "epochs": 0, "augmentation": {"crop_scale": 7}, "speed": 1}
    answer = client.post(
        "/api/v1/experiments", json={"dataset_id": 1, "name": "x", "config": config}, headers=auth.token()
    )
    assert answer.status_code == 422
    named = {item["field"] for item in answer.json["errors"]}
    assert named == {"config.network", "config.epochs", "config.augmentation.crop_scale", "config.speed"}


def test_an_unknown_address_and_a_wrong_verb_are_told_apart(auth: Auth, client: FlaskClient) -> None:
    assert client.get("/api/v1/nothing", headers=auth.token()).status_code == 404
    answer = client.put("/api/v1/datasets", headers=auth.token())
    assert (answer.status_code, answer.mimetype) == (405, "application/problem+json")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


@pytest.mark.parametrize(
    ("given", "is_taken"),
    [
        ("abcd-1234-ef", True),
        ("short", False),
        ("x" * 65, False),
        ("with space 12", False),
        ("<script>alert", False),
        ("ümläutümläut", False),
    ],
)
def test_a_request_keeps_the_id_that_a_proxy_gave_it_if_it_is_a_plain_one(
    client: FlaskClient, given: str, is_taken: bool
) -> None:
    answer = client.get("/health/live", headers={"X-Request-ID": given.encode().decode("latin-1")})
    assert (answer.headers["X-Request-ID"] == given) is is_taken
    assert len(answer.headers["X-Request-ID"]) >= 8


JUNK: dict[str, Callable[[FlaskClient, dict[str, str]], object]] = {
    "no body": lambda http, who: http.post("/api/v1/experiments", headers=who),
    "broken json": lambda http, who: http.post("/api/v1/experiments", data="{", headers=who | JSON),
    "json of another shape": lambda http, who: http.post("/api/v1/experiments", json=[1, None], headers=who),
    "deep json": lambda http, who: http.post("/predict", data="[" * 100_000, headers=who | JSON),
    "deep options": lambda http, who: http.post(
        "/api/v1/datasets", data={"options": "[" * 100_000, "archive": ZIP()}, headers=who
    ),
    "options that are a number": lambda http, who: http.post(
        "/api/v1/datasets", data={"name": "x", "options": "7", "archive": ZIP()}, headers=who
    ),
    "no archive": lambda http, who: http.post("/api/v1/datasets", data={"name": "x"}, headers=who),
    "an archive that is text": lambda http, who: http.post(
        "/api/v1/datasets", data={"name": "x", "archive": (io.BytesIO(b"hello"), "x.zip")}, headers=who
    ),
    "a name with a zero byte": lambda http, who: http.post(
        "/api/v1/datasets", data={"name": "a\0b", "archive": ZIP()}, headers=who
    ),
    "a name of half a character": lambda http, who: http.post(
        "/api/v1/experiments", data='{"dataset_id": 1, "name": "\\ud800"}', headers=who | JSON
    ),
    "a reason with a zero byte": lambda http, who: http.post("/api/v1/rollback", json={"reason": "a\0b"}, headers=who),
    "a huge number": lambda http, who: http.get(f"/api/v1/datasets/{10**30}", headers=who),
    "a number beyond the database": lambda http, who: http.get(f"/api/v1/experiments/{2**63}", headers=who),
    "a negative limit": lambda http, who: http.get("/api/v1/datasets?limit=-1", headers=who),
    "a strange cursor": lambda http, who: http.get("/api/v1/datasets?cursor=٣", headers=who),
    "a huge cursor": lambda http, who: http.get("/api/v1/datasets?cursor=999999999999999999", headers=who),
    "a cursor of many zeros": lambda http, who: http.get(f"/api/v1/datasets?cursor={'0' * 5000}9", headers=who),
    "a long cursor": lambda http, who: http.get(f"/api/v1/datasets?cursor={'0' * 19}{2**63}", headers=who),
    "a broken query": lambda http, who: http.get("/api/v1/datasets?limit=%ff%fe", headers=who),
    "an image that is none": lambda http, who: http.post(
        "/predict", data=b"GIF89a", headers=who | {"Content-Type": "image/gif"}
    ),
    "an evaluation of nothing": lambda http, who: http.post(
        "/api/v1/evaluations", json={"version": 2**31, "dataset_id": 2**31}, headers=who
    ),
    "a broken multipart body": lambda http, who: http.post(
        "/api/v1/datasets", data=b"--x\r\n\r\n", headers=who | {"Content-Type": "multipart/form-data; boundary=x"}
    ),
    "multipart without boundary": lambda http, who: http.post(
        "/predict", data=b"x", headers=who | {"Content-Type": "multipart/form-data"}
    ),
    "a token of zero bytes": lambda http, who: http.get("/api/v1/datasets", headers={"Authorization": "Bearer ü"}),
}
JSON = {"Content-Type": "application/json"}


def ZIP() -> tuple[io.BytesIO, str]:  # noqa: N802
    return io.BytesIO(b"PK\x03\x04"), "x.zip"


@pytest.mark.parametrize("kind", JUNK)
def test_junk_is_answered_and_never_breaks_the_site(any_auth: Auth, kind: str) -> None:
    answer = JUNK[kind](any_auth.client, any_auth.token())
    assert 400 <= answer.status_code < 500 or (kind.startswith("an image") and answer.status_code == 503), answer.text
    assert answer.mimetype == "application/problem+json"
    assert TypeAdapter(str).validate_python(answer.json["detail"], strict=True)


def test_a_login_with_a_zero_byte_is_refused_like_any_other(any_auth: Auth) -> None:
    any_auth.login("viewer")
    answer = any_auth.client.post("/login", data=any_auth.form(email="a\0b@example.org", password="a\0"))
    assert answer.status_code == 401


@pytest.mark.parametrize("number", [0, 2**31, 2**63, 10**60])
def test_a_number_of_no_row_is_not_found_however_large(any_auth: Auth, number: int) -> None:
    any_auth.login("researcher")
    for path in ("/datasets/", "/experiments/", "/versions/", "/experiments/new?clone="):
        assert any_auth.client.get(f"{path}{number}").status_code == 404


def test_a_file_that_the_store_has_lost_is_told_as_such(client: FlaskClient, auth: Auth) -> None:
    with client.application.app_context():
        make_version()
        for sha256, _ in datasets.store().addresses():
            datasets.store().delete(sha256)
    auth.login("viewer")
    images = ("/datasets/1/images/0.png", "/datasets/1/thumbnails/0")
    for path in (*images, "/versions/1/files/card.json", "/api/v1/versions/1/files/model.onnx"):
        answer = client.get(path)
        assert (answer.status_code, "missing or damaged" in answer.text) == (503, True), path
        assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("kind", ["manifest", "pack"])
def test_a_file_that_was_damaged_in_the_store_is_told_as_such(client: FlaskClient, auth: Auth, kind: str) -> None:
    with client.application.app_context():
        dataset = make_dataset()
        sha256 = dataset.manifest_sha256 if kind == "manifest" else dataset.pack_sha256s[0]
        with datasets.store().fetch(str(sha256)) as path:
            path.write_bytes(path.read_bytes()[:40])
    auth.login("viewer")
    answer = client.get("/datasets/1/images/7.png")
    assert (answer.status_code, "missing or damaged" in answer.text) == (503, True)


def test_every_thread_of_a_process_has_a_connection_of_its_own(any_settings: Settings) -> None:
    settings = any_settings.model_copy(update={"web_threads": 24})
    with application(settings) as app, app.app_context(), contextlib.ExitStack() as stack:
        for _ in range(24):
            stack.enter_context(db.engine.connect())
        assert db.engine.pool.overflow() <= 0  # type: ignore[attr-defined]
