"""The REST interface at its edges: what clients send, and what they are told."""

import base64
import io
import itertools

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml.images import encode_canonical
from tests.factories import Auth, find_user, make_version
from webapp.registry import service as registry


@pytest.fixture
def image() -> bytes:
    return encode_canonical(np.full((40, 40, 3), 120, np.uint8))


@pytest.fixture
def headers(app: Flask, auth: Auth) -> dict[str, str]:
    """Of a client system, with a version active."""
    found = auth.token("write")
    with app.app_context():
        registry.activate(make_version(), "for a test", find_user("researcher"))
    return found


def test_base64_may_hold_line_breaks_or_a_data_url(client: FlaskClient, headers: dict[str, str], image: bytes) -> None:
    texts = [base64.encodebytes(image).decode(), "data:image/png;base64," + base64.b64encode(image).decode()]
    answer = client.post("/predict", json={"images": texts}, headers=headers)
    first, second = answer.json["predictions"]
    assert first["probabilities"] == second["probabilities"]


def test_one_bad_text_among_several_images_is_an_error_in_its_own_place(
    client: FlaskClient, headers: dict[str, str], image: bytes
) -> None:
    texts = [base64.b64encode(image).decode(), "!!!"]
    answer = client.post("/predict", json={"images": texts}, headers=headers)
    good, bad = answer.json["predictions"]
    assert "label" in good
    assert "base64" in bad["error"]
    assert client.post("/predict", json={"images": ["!!!"]}, headers=headers).status_code == 422


def test_a_chunked_image_that_reaches_the_limit_is_refused_and_not_cut_short(
    app: Flask, client: FlaskClient, headers: dict[str, str], image: bytes
) -> None:
    limit = app.extensions["settings"].max_image_mb * 2**20
    body = io.BytesIO(image + bytes(limit))
    answer = client.post(
        "/predict",
        input_stream=body,
        headers=headers | {"Content-Type": "image/png", "Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "options", ["{", "[]", '{"seed": ' + "9" * 5000 + "}", "[" * 100_000, '{"splits": {"train": 2}}']
)
def test_options_that_are_wrong_are_named(client: FlaskClient, headers: dict[str, str], options: str) -> None:
    data = {"name": "x", "options": options, "archive": (io.BytesIO(b"PK\x03\x04"), "a.zip")}
    answer = client.post("/api/v1/datasets", data=data, headers=headers)
    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"].startswith("options")


def test_activations_come_in_pages(app: Flask, client: FlaskClient, headers: dict[str, str]) -> None:
    for number in range(3):
        body = {"reason": f"number {number}"}
        assert client.post("/api/v1/versions/1/activate", json=body, headers=headers).status_code == 200
    pages, cursor = [], ""
    for _ in itertools.count():
        page = client.get(f"/api/v1/activations?limit=2&cursor={cursor}", headers=headers).json
        pages.append([item["reason"] for item in page["items"]])
        cursor = page["next"]
        if not cursor:
            break
    assert pages == [["number 2", "number 1"], ["number 0", "for a test"]]


def test_a_reason_must_be_printable(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.post("/api/v1/versions/1/activate", json={"reason": "a\0b"}, headers=headers).status_code == 422


def test_a_cookie_is_worthless_after_its_owner_logged_out(app: Flask, client: FlaskClient, auth: Auth) -> None:
    auth.login("viewer")
    cookie = client.get_cookie("session").value
    auth.logout()
    thief = app.test_client()
    thief.set_cookie("session", cookie)
    assert thief.get("/account").status_code == 302
