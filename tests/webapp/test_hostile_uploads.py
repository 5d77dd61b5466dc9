"""Hostile archives over HTTP: never a 5xx, and a row that says how it ended."""

import base64
import os
from io import BytesIO
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from tests.factories import Auth
from tests.ml.factories import files, zip_bytes
from tests.ml.hostile import CASES
from tests.webapp.conftest import Ingest
from tests.webapp.test_predictions import activate

DATA = os.environ.get("APP_TEST_DATA")
# These take the same way through HTTP as the others, and their own in tests/ml.
LARGE = {"100,000 files", "a bomb by its ratio", "a compressed text of 100 MB", "a header of 3 MB", "a name of 10 MB"}


@pytest.mark.parametrize("name", [name for name in CASES if name not in LARGE])
def test_a_hostile_upload_ends_with_a_reason(client: FlaskClient, auth: Auth, ingest: Ingest, name: str) -> None:
    token = auth.token("write")
    form = {"archive": (BytesIO(CASES[name].make()), "x.zip"), "name": "x"}
    answer = client.post("/api/v1/datasets", data=form, headers=token)
    assert answer.status_code in (202, 415, 422), answer.text
    if answer.status_code != 202:
        assert answer.json["detail"]
        return
    ingest(answer.json["id"])
    found = client.get(answer.json["url"], headers=token).json
    assert found["status"] in ("ready", "rejected")
    assert found["status"] == "ready" or found["rejected_because"].endswith(".")
    assert "unexpected error" not in (found["rejected_because"] or "")


def from_clients() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(str(DATA), "client-images").iterdir())}


def post_parts(client: FlaskClient, address: str, form: dict[str, object], token: dict[str, str]) -> TestResponse:
    """Multipart from memory: the test client would leave a temporary file open."""
    boundary, body = encode_multipart(form)
    return client.post(address, data=body, content_type=f"multipart/form-data; boundary={boundary}", headers=token)


@pytest.mark.skipif(not DATA, reason="APP_TEST_DATA is not set")
def test_files_that_clients_send_are_answered_however_they_come(client: FlaskClient, auth: Auth) -> None:
    activate(client.application)
    token, sent = auth.token("predict", "viewer"), from_clients()
    for name, data in sent.items():
        kind = "application/dicom" if name.endswith(".dcm") else "application/octet-stream"
        answer = client.post("/predict", data=data, headers=token | {"Content-Type": kind})
        assert answer.status_code == 200 or (answer.status_code in (413, 422) and answer.json["detail"]), name
    names = list(sent)
    for some in (names[:15], names[15:]):
        parts = post_parts(client, "/predict", {"image": [FileStorage(BytesIO(sent[n]), n) for n in some]}, token)
        texts = {"images": [base64.b64encode(sent[n]).decode() for n in some]}
        for answer in (parts, client.post("/predict", json=texts, headers=token)):
            assert answer.status_code == 200, answer.text
            assert all(found.get("error") or found["label"] for found in answer.json["predictions"])


@pytest.mark.skipif(not DATA, reason="APP_TEST_DATA is not set")
def test_files_that_clients_send_end_as_images_or_with_a_reason(
    client: FlaskClient, auth: Auth, ingest: Ingest
) -> None:
    sent = {f"{'ab'[number % 2]}/{name}": data for number, (name, data) in enumerate(from_clients().items())}
    form = {"archive": FileStorage(BytesIO(zip_bytes(files("a", "b") | sent)), "x.zip"), "name": "x"}
    answer = post_parts(client, "/api/v1/datasets", form, auth.token("write"))
    ingest(answer.json["id"])
    found = client.get(answer.json["url"], headers=auth.token("write")).json
    assert found["status"] == "ready", found["rejected_because"]
    kept = client.get(f"{answer.json['url']}/images?limit=200", headers=auth.token("write")).json["items"]
    assert len(sent.keys() & {item["path"].partition("#")[0] for item in kept}) == len(sent) - 3
