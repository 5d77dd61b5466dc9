"""How much a request may hold, and where uploaded bytes wait until they are kept."""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request

from tests.conftest import application
from tests.factories import Auth, find_user, make_version
from webapp.datasets import contents
from webapp.registry import service as registry
from webapp.settings import Settings
from webapp.uploads import ARCHIVES, IMAGES, IN_MEMORY_BYTES

CONTENT = b"x" * (IN_MEMORY_BYTES + 1)
PART = b'--b\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n%s\r\n'


def multipart(*parts: tuple[str, str, bytes], **fields: str) -> dict[str, Any]:
    """Arguments of a post: parts by name, file name and content, which werkzeug's client would leave on the disk."""
    files = b"".join(PART % (name.encode(), filename.encode(), content) for name, filename, content in parts)
    texts = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), text.encode())
        for name, text in fields.items()
    )
    return {"data": files + texts + b"--b--\r\n", "content_type": "multipart/form-data; boundary=b"}


def test_a_large_upload_waits_on_the_scratch_disk_and_leaves_nothing_there(
    app: Flask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))  # the system's folder must not be needed
    with app.test_request_context("/", method="POST", **multipart(("archive", "a.zip", CONTENT))):
        request.max_content_length = 2 * len(CONTENT)
        assert request.files["archive"].read() == CONTENT
    assert list(app.extensions["settings"].scratch.iterdir()) == []


@pytest.fixture
def small(settings: Settings) -> Iterator[Flask]:
    """An application that takes archives of 3 MiB, 2 MiB of images in one request, and images of 1 MiB."""
    limits = {"max_upload_mb": 3, "max_predict_mb": 2, "max_image_mb": 1, "max_images_per_request": 3}
    with application(settings.model_copy(update=limits)) as app:
        yield app


@pytest.mark.parametrize(
    ("path", "content", "limit_mb"),
    [
        ("/api/v1/datasets", "multipart", 3),
        ("/api/v1/datasets", "json", 1),
        ("/datasets/new", "multipart", 3),
        ("/datasets/new", "form", 1),
        ("/api/v1/experiments", "json", 1),
        ("/predict", "json", 2),
        ("/predict", "multipart", 2),
        ("/api/v1/predict", "multipart", 2),
        ("/predict", "image", 1),
        ("/try/", "multipart", 2),
    ],
)
def test_a_request_that_is_too_large_is_told_the_limit_of_its_address(
    small: Flask, path: str, content: str, limit_mb: int
) -> None:
    size = limit_mb * 2**20 + 1
    body: dict[str, Any] = {
        "multipart": multipart(("archive", "a.zip", b"x" * size)),
        "json": {"data": b"[" * size, "content_type": "application/json"},
        "form": {"data": {"name": "x" * size}},
        "image": {"data": b"x" * size, "content_type": "image/png"},
    }[content]
    auth = Auth(small.test_client())
    answer = auth.client.post(path, headers=auth.token(), **body)
    assert (answer.status_code, answer.mimetype) == (413, "application/problem+json")
    assert f"at most {limit_mb} MiB" in answer.json["detail"]


def test_a_person_is_told_the_limit_on_a_page(small: Flask) -> None:
    auth = Auth(small.test_client())
    auth.login()
    answer = auth.client.post(
        "/datasets/new", **multipart(("archive", "a.zip", b"x" * (3 * 2**20)), csrf_token=auth.csrf())
    )
    assert (answer.status_code, answer.mimetype) == (413, "text/html")
    assert "at most 3 MiB" in answer.text


def test_an_archive_below_its_limit_is_taken(small: Flask) -> None:
    auth = Auth(small.test_client())
    body = multipart(("archive", "a.zip", b"PK\x03\x04" + b"\n" * (2 * 2**20)), name="x")
    assert auth.client.post("/api/v1/datasets", headers=auth.token(), **body).status_code == 202


def test_a_field_that_is_no_file_stays_small_whatever_the_request_may_hold(small: Flask) -> None:
    auth = Auth(small.test_client())
    body = multipart(("archive", "a.zip", b"PK"), options="x" * (2**20 + 1))
    answer = auth.client.post("/api/v1/datasets", headers=auth.token(), **body)
    assert (answer.status_code, "too long" in answer.json["detail"]) == (413, True)


class Unread(io.BytesIO):
    """A body that nobody may read."""

    def read(self, _size: int | None = -1) -> bytes:
        raise AssertionError("the body was read")

    readinto = readline = read  # type: ignore[assignment]


def test_who_may_not_upload_is_refused_before_the_body_is_read(app: Flask) -> None:
    auth = Auth(app.test_client())
    viewer = auth.token(role="viewer")
    larger = [rule for rule in app.url_map.iter_rules() if rule.endpoint in ARCHIVES | IMAGES]
    assert len(larger) == 7
    for rule in larger:
        for headers in ({}, {"Authorization": "Bearer wrong"}, viewer if rule.endpoint in ARCHIVES else {}):
            answer = app.test_client().post(
                rule.rule,
                input_stream=Unread(b"x" * 1000),
                content_type="multipart/form-data; boundary=b",
                headers=headers,
            )
            assert answer.status_code in (302, 401, 403), rule


def test_an_image_that_is_too_large_and_images_that_are_too_many_are_refused(small: Flask) -> None:
    auth = Auth(small.test_client())
    with small.app_context():
        version = make_version()
        registry.activate(version, "for a test", find_user("researcher"))
        image = contents.image_bytes(version.experiment.dataset, 1)
    body = multipart(("image", "a.png", image), ("image", "b.png", b"x" * (2**20 + 1)))
    answer = auth.client.post("/predict", headers=auth.token("predict"), **body)
    assert answer.status_code == 200
    assert "at most 1 MiB" in answer.json["predictions"][1]["error"]
    many = multipart(*[("image", "a.png", b"no image")] * 4)
    refused = auth.client.post("/predict", headers=auth.token("predict"), **many)
    assert (refused.status_code, "at most 3 are allowed" in refused.json["detail"]) == (413, True)
