"""Resumable uploads speak tus 1.0.0, belong to one person, and lose nothing that was counted."""

import base64
import datetime
import hashlib
import io
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from jobs import janitor
from ml.ingest_options import IngestOptions
from tests.factories import Auth, find_user, make_user
from tests.ml.factories import files, zip_bytes
from tests.webapp.conftest import Ingest
from webapp.datasets import service as datasets
from webapp.errors import NotFound
from webapp.models import Dataset, Upload, db, now
from webapp.peer import SlowClient
from webapp.resumable import service

ARCHIVE = zip_bytes(files("a", "b", count=8))
TUS = {"Tus-Resumable": "1.0.0"}


class Tus:
    """A client system with a token of its own."""

    def __init__(self, client: FlaskClient, auth: Auth, role: str = "researcher") -> None:
        self.client, self.headers = client, TUS | auth.token("write", role)

    def create(self, length: int = len(ARCHIVE), **headers: str) -> TestResponse:
        return self.client.post("/uploads", headers=self.headers | {"Upload-Length": str(length)} | headers)

    def begin(self, **headers: str) -> str:
        answer = self.create(**headers)
        assert answer.status_code == 201
        return str(answer.location)

    def send(self, url: str, offset: int, data: bytes, **headers: str) -> TestResponse:
        sent = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.patch(url, data=data, headers=self.headers | sent | named)

    def offset(self, url: str) -> int:
        return int(self.client.head(url, headers=self.headers).headers["Upload-Offset"])


@pytest.fixture
def tus(client: FlaskClient, auth: Auth) -> Tus:
    return Tus(client, auth)


def test_the_server_says_what_it_can(tus: Tus) -> None:
    answer = tus.client.options("/uploads", headers=tus.headers)
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert set(answer.headers["Tus-Extension"].split(",")) >= {"creation", "checksum", "expiration", "termination"}
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"
    assert int(answer.headers["Tus-Max-Size"]) == 4096 * 2**20


def test_an_archive_in_pieces_becomes_a_data_set(tus: Tus, app: Flask, ingest: Ingest) -> None:
    name = base64.b64encode(b"my scans.zip").decode()
    url = tus.begin(**{"Upload-Metadata": f"filename {name}"})
    for start in range(0, len(ARCHIVE), 3000):
        answer = tus.send(url, start, ARCHIVE[start : start + 3000])
        assert answer.status_code == 204
        assert int(answer.headers["Upload-Offset"]) == tus.offset(url)
    wanted = {"upload": url.rsplit("/", 1)[1], "options": {"group_pattern": ""}}
    answer = tus.client.post("/api/v1/datasets", json=wanted, headers=tus.headers)
    assert (answer.status_code, answer.json["name"]) == (202, "my scans")
    ingest(answer.json["id"])
    with app.app_context():
        dataset = db.session.get_one(Dataset, answer.json["id"])
        assert (dataset.status, dataset.images) == ("ready", 16), dataset.rejected_because
        assert db.session.query(Upload).count() == 0
    assert tus.client.head(url, headers=tus.headers).status_code == 404


def test_long_requests_are_counted_piece_by_piece(tus: Tus, monkeypatch: pytest.MonkeyPatch, app: Flask) -> None:
    monkeypatch.setattr(service, "PIECE_BYTES", 1000)
    url = tus.begin()
    tus.send(url, 0, ARCHIVE)
    with app.app_context():
        upload = db.session.query(Upload).one()
        assert len(upload.part_sha256s) == -(-len(ARCHIVE) // 1000)
        assert upload.is_complete


def test_what_came_with_the_creation_is_kept(tus: Tus) -> None:
    sent = {"Upload-Length": "10", "Content-Type": "application/offset+octet-stream"}
    answer = tus.client.post("/uploads", data=b"12345", headers=tus.headers | sent)
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "5")


def test_a_client_that_can_only_post_names_the_verb_it_means(tus: Tus) -> None:
    url = tus.begin()

    def post(verb: str, data: bytes = b"", **more: str) -> Any:
        sent = {"X-HTTP-Method-Override": verb, **{name.replace("_", "-"): value for name, value in more.items()}}
        return tus.client.post(url, data=data, headers=tus.headers | sent)

    kind = "application/offset+octet-stream"
    assert post("PATCH", b"12345", Upload_Offset="0", Content_Type=kind).status_code == 204
    assert post("HEAD").headers["Upload-Offset"] == "5"
    assert post("GET").status_code == 422
    assert post("DELETE").status_code == 204
    assert post("HEAD").status_code == 404


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_wrong_checksum_keeps_nothing(tus: Tus, algorithm: str) -> None:
    url = tus.begin()
    right, wrong = (base64.b64encode(hashlib.new(algorithm, data).digest()).decode() for data in (b"12345", b"1234x"))
    assert tus.send(url, 0, b"12345", Upload_Checksum=f"{algorithm} {wrong}").status_code == 460
    assert tus.offset(url) == 0
    assert tus.send(url, 0, b"12345", Upload_Checksum=f"{algorithm} {right}").status_code == 204
    assert tus.offset(url) == 5


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Tus_Resumable": "0.2.2"}, 412),
        ({"Upload_Offset": "7"}, 409),
        ({"Upload_Offset": "-1"}, 422),
        ({"Content_Type": "text/plain"}, 415),
        ({"Upload_Checksum": "md4 abc"}, 400),
        ({"Upload_Checksum": "sha1 !"}, 422),
    ],
)
def test_a_wrong_request_changes_nothing(tus: Tus, change: dict[str, str], status: int) -> None:
    url = tus.begin()
    answer = tus.send(url, 0, b"12345", **change)
    assert answer.status_code == status
    assert answer.json["detail"]
    assert tus.offset(url) == 0


def test_more_than_announced_is_refused(tus: Tus) -> None:
    url = tus.create(4).location
    assert tus.send(url, 0, b"12345").status_code == 413
    assert tus.offset(url) == 0


@pytest.mark.parametrize(
    ("headers", "status", "cause"),
    [
        ({"Upload-Length": "0"}, 422, "Upload-Length"),
        ({"Upload-Length": "many"}, 422, "whole number"),
        ({"Upload-Length": str(2**40)}, 413, "APP_MAX_UPLOAD_MB"),
        ({"Upload-Defer-Length": "1"}, 422, "from the beginning"),
        ({"Upload-Metadata": "filename !"}, 422, "base64"),
    ],
)
def test_what_cannot_begin_is_refused_with_a_sentence(tus: Tus, headers: Any, status: int, cause: str) -> None:
    answer = tus.create(**headers)
    assert answer.status_code == status
    assert cause in answer.json["detail"]


def test_unfinished_uploads_have_a_quota(tus: Tus) -> None:
    for _ in range(4):
        assert tus.create(4096 * 2**20).status_code == 201
    answer = tus.create(1)
    assert answer.status_code == 413
    assert "APP_UPLOAD_QUOTA_MB" in answer.json["detail"]


def test_an_upload_belongs_to_one_person(tus: Tus, client: FlaskClient, auth: Auth) -> None:
    url, stranger = tus.begin(), Tus(client, auth, "admin")
    assert client.head(url, headers=stranger.headers).status_code == 404
    assert stranger.send(url, 0, b"x").status_code == 404
    wanted = {"upload": url.rsplit("/", 1)[1]}
    assert client.post("/api/v1/datasets", json=wanted, headers=stranger.headers).status_code == 404


def test_an_unfinished_upload_is_no_data_set_yet(tus: Tus) -> None:
    url = tus.begin()
    tus.send(url, 0, ARCHIVE[:100])
    answer = tus.client.post("/api/v1/datasets", json={"upload": url.rsplit("/", 1)[1]}, headers=tus.headers)
    assert answer.status_code == 409
    assert f"100 of {len(ARCHIVE)} bytes" in answer.json["detail"]


def test_a_discarded_upload_leaves_no_bytes(tus: Tus, app: Flask) -> None:
    url = tus.begin()
    tus.send(url, 0, ARCHIVE[:100])
    assert tus.client.delete(url, headers=tus.headers).status_code == 204
    assert list(app.extensions["store"].addresses()) == []


def test_expired_uploads_are_gone_and_removed_by_the_janitor(tus: Tus, app: Flask) -> None:
    url = tus.begin()
    tus.send(url, 0, ARCHIVE[:100])
    with app.app_context():
        db.session.query(Upload).update({"expires_at": now() - datetime.timedelta(hours=1)})
        db.session.commit()
        assert tus.client.head(url, headers=tus.headers).status_code == 410
        janitor.sweep()
        assert db.session.query(Upload).count() == 0
    assert list(app.extensions["store"].addresses()) == []


class Meanwhile(io.BytesIO):
    """A body of which the last part comes after something else happened."""

    def __init__(self, body: bytes, happens: Callable[[], object]) -> None:
        super().__init__(body)
        self.happens = happens

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() == len(self.getvalue()):
            self.happens()
        return super().read(size)


def test_what_comes_for_an_upload_that_was_just_discarded_is_refused_and_not_kept(context: Flask) -> None:
    upload = service.create(100, "a.zip", make_user())
    upload_id = upload.id

    def discard() -> None:
        with context.app_context():
            service.discard(db.session.get_one(Upload, upload_id))

    with pytest.raises(NotFound):
        service.append(upload, 0, Meanwhile(ARCHIVE[:50], discard))
    assert list(context.extensions["store"].addresses()) == []


@pytest.mark.parametrize("checksum", ["sha1 " + base64.b64encode(bytes(20)).decode(), "md5 abc", "sha1 !"])
def test_a_creation_whose_bytes_are_refused_leaves_no_upload(tus: Tus, app: Flask, checksum: str) -> None:
    sent = {"Upload-Length": "10", "Content-Type": "application/offset+octet-stream", "Upload-Checksum": checksum}
    answer = tus.client.post("/uploads", data=b"12345", headers=tus.headers | sent)
    assert answer.status_code in (400, 422, 460)
    with app.app_context():
        assert db.session.query(Upload).count() == 0


def test_of_two_data_sets_made_of_one_upload_at_once_one_is_refused(
    context: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id = service.create(len(ARCHIVE), "a.zip", make_user()).id
    service.append(service.get(upload_id, find_user()), 0, io.BytesIO(ARCHIVE))
    clean_name = datasets.clean_name

    def late(name: str) -> str:
        monkeypatch.undo()
        with context.app_context():
            datasets.create_from_upload(upload_id, "first", IngestOptions(), find_user())
        return clean_name(name)

    monkeypatch.setattr(datasets, "clean_name", late)
    with pytest.raises(NotFound):
        datasets.create_from_upload(upload_id, "second", IngestOptions(), find_user())
    assert [dataset.name for dataset in db.session.query(Dataset)] == ["first"]


def test_discarding_one_upload_keeps_the_same_bytes_of_another_on_its_way(context: Flask, auth: Auth) -> None:
    user = make_user()
    first, second = (service.create(100, "a.zip", user) for _ in range(2))
    service.append(first, 0, io.BytesIO(ARCHIVE[:50]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "PIECE_BYTES", 50)
        checksum = ("sha256", hashlib.sha256(ARCHIVE[:100]).digest())
        service.append(second, 0, Meanwhile(ARCHIVE[:100], lambda: service.discard(first)), checksum)
    assert {address for address, _ in context.extensions["store"].addresses()} == set(second.part_sha256s)


@pytest.mark.parametrize("fault", [ConnectionResetError(), SlowClient()])
def test_a_stream_that_breaks_off_keeps_what_came(context: Flask, auth: Auth, fault: Exception) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() >= 3000:
                raise fault
            return super().read(min(size or 0, 1000))

    upload = service.create(len(ARCHIVE), "a.zip", make_user())
    service.append(upload, 0, Broken(ARCHIVE))
    assert upload.received == 3000
    service.append(upload, 3000, io.BytesIO(ARCHIVE[3000:]))
    assert upload.is_complete
