"""Hostile archives over HTTP: never a 5xx, and a row that says how it ended."""

from io import BytesIO

import pytest
from flask.testing import FlaskClient

from tests.factories import Auth
from tests.ml.hostile import CASES
from tests.webapp.conftest import Ingest

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
