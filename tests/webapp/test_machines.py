"""Several machines, each with a disk of its own, on one database, one queue and one bucket."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from jobs import janitor, tasks, work
from tests.conftest import application
from tests.factories import Auth
from tests.ml.factories import files, zip_bytes
from tests.webapp.test_resumable import TUS
from webapp.settings import Settings

ARCHIVE = zip_bytes(files("a", "b", count=8))
PIECE_BYTES = -(-len(ARCHIVE) // 4)


@pytest.fixture
def machines(settings: Settings, bucket: dict[str, str], tmp_path: Path) -> Iterator[list[Flask]]:
    """Two web processes and a worker, none of which sees the others' files."""
    apart = [Settings(**settings.model_dump() | bucket | {"cache_dir": tmp_path / f"disk-{n}"}) for n in range(3)]
    with application(apart[0]) as one, application(apart[1]) as other, application(apart[2]) as worker:
        yield [one, other, worker]


def test_an_upload_goes_on_at_whichever_machine_it_lands(
    machines: list[Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, worker = machines
    pods, headers = (one.test_client(), other.test_client()), TUS | Auth(one.test_client()).token("write", "researcher")
    name = base64.b64encode(b"scans.zip").decode()
    created = {"Upload-Length": str(len(ARCHIVE)), "Upload-Metadata": f"filename {name}"}
    url = str(pods[0].post("/uploads", headers=headers | created).location)
    for turn, start in enumerate(range(0, len(ARCHIVE), PIECE_BYTES)):
        piece = {"Upload-Offset": str(start), "Content-Type": "application/offset+octet-stream"}
        answer = pods[turn % 2].patch(url, data=ARCHIVE[start : start + PIECE_BYTES], headers=headers | piece)
        assert answer.status_code == 204
    upload = url.rpartition("/")[2]
    made = pods[1].post("/api/v1/datasets", json={"upload": upload, "name": "Scans"}, headers=headers)
    assert made.status_code == 202, made.text

    monkeypatch.setattr(work, "create_app", lambda **options: worker)
    tasks.ingest(made.json["id"])
    for pod in pods:
        assert pod.get(f"/api/v1/datasets/{made.json['id']}", headers=headers).json["status"] == "ready"
        images = pod.get(f"/api/v1/datasets/{made.json['id']}/images", headers=headers).json
        assert len(images["items"]) == 16


def test_a_store_that_is_away_is_told_and_to_be_asked_again(settings: Settings, bucket: dict[str, str]) -> None:
    away = Settings(**settings.model_dump() | bucket | {"s3_endpoint_url": "http://127.0.0.1:9"})
    with application(away, store_patience_s=0.3) as app:
        client = app.test_client()
        headers = TUS | Auth(client).token("write", "researcher")
        url = str(client.post("/uploads", headers=headers | {"Upload-Length": "3"}).location)
        piece = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        answer = client.patch(url, data=b"abc", headers=headers | piece)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "store of files" in answer.json["detail"]
        assert client.head(url, headers=headers).headers["Upload-Offset"] == "0"
        health = client.get("/health")
        assert (health.status_code, health.json["checks"]["storage"]) == (503, "down")
        assert "Retry-After" in health.headers
        janitor.round_once(app, with_sweep=True)  # goes on to its next round
