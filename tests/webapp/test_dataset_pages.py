"""Data sets in the browser."""

import html
import io
import zipfile
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml.sources import SOURCES
from tests import factories
from tests.factories import Auth
from webapp import queue
from webapp.models import Dataset, db


def archive(name: str = "breast.zip") -> tuple[io.BytesIO, str]:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("benign/1.png", b"bytes")
    file.seek(0)
    return file, name


def upload(client: FlaskClient, auth: Auth, **fields: Any) -> Any:
    return client.post("/datasets/new", data=auth.form(**fields), content_type="multipart/form-data")


def test_an_uploaded_archive_becomes_a_pending_data_set_that_waits_for_a_worker(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    auth.login()
    answer = upload(client, auth, archive=archive(), name="", **{"options.positive_class": "", "options.seed": "7"})
    assert answer.location == "/datasets/1"
    with app.app_context():
        dataset = db.session.get_one(Dataset, 1)
        assert (dataset.name, dataset.status) == ("breast", "pending")
        assert dataset.options["seed"] == 7
        assert dataset.options["positive_class"] is None
        assert queue.rows(queue.INGEST) == [1]
    html = client.get("/datasets/1").text
    assert 'hx-get="/datasets/1/live"' in html
    assert "Waiting for a worker" in html


def test_a_published_data_set_is_brought_in_by_its_name(app: Flask, client: FlaskClient, auth: Auth) -> None:
    auth.login()
    assert client.post("/datasets/new", data=auth.form(source="breastmnist_64")).location == "/datasets/1"
    with app.app_context():
        assert db.session.get_one(Dataset, 1).source_name == "breastmnist_64"


def test_each_published_data_set_is_offered_with_its_licence(client: FlaskClient, auth: Auth) -> None:
    auth.login()
    page = html.unescape(client.get("/datasets/new").text)
    for name, source in SOURCES.items():
        for text in (f'value="{name}"', source.title, source.description, source.licence):
            assert text in page


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({}, 422, "There is no file."),
        ({"archive": (io.BytesIO(b""), "a.zip")}, 422, "0 bytes"),
        ({"archive": (io.BytesIO(b"GIF89a"), "a.zip")}, 415, "This is no zip"),
        ({"archive": archive(), "options.splits.train": "0.9"}, 422, "add up to 1.200"),
        ({"archive": archive(), "options.group_pattern": "("}, 422, "Not a regular expression"),
        ({"archive": archive(), "name": "x" * 201}, 422, "1 to 200"),
        ({"source": "imagenet"}, 422, "There is no data set named"),
    ],
)
def test_a_mistake_is_told_on_the_form_and_nothing_is_made(
    app: Flask, client: FlaskClient, auth: Auth, fields: dict[str, Any], status: int, message: str
) -> None:
    auth.login()
    answer = upload(client, auth, **fields)
    assert answer.status_code == status
    assert message in answer.text
    assert 'id="form-area"' in answer.text
    with app.app_context():
        assert db.session.get(Dataset, 1) is None


def test_what_was_typed_is_still_there_after_a_mistake(client: FlaskClient, auth: Auth) -> None:
    auth.login()
    html = upload(client, auth, name="My series", **{"options.seed": "-3", "options.positive_class": "cancer"}).text
    for value in ("My series", "-3", "cancer"):
        assert f'value="{value}"' in html


def test_the_progress_of_an_ingest_ends_with_a_new_page(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        dataset = factories.make_dataset(status="pending", phase="reading images", progress=0.4)
    auth.login("viewer")
    answer = client.get("/datasets/1/live")
    assert "Reading images" in answer.text
    assert 'aria-valuenow="40"' in answer.text
    with app.app_context():
        db.session.add(dataset)
        dataset.status = "ready"
        db.session.commit()
    assert client.get("/datasets/1/live").headers["HX-Redirect"] == "/datasets/1"


def test_a_rejected_archive_says_why(app: Flask, client: FlaskClient, auth: Auth) -> None:
    reason = "The archive has 3 images of class 'malignant'; at least 10 are needed."
    with app.app_context():
        factories.make_dataset(status="rejected", rejected_because=reason)
    auth.login("viewer")
    assert reason.replace("'", "&#39;") in client.get("/datasets/1").text


def test_a_ready_data_set_shows_counts_issues_files_and_samples(app: Flask, client: FlaskClient, auth: Auth) -> None:
    report = {
        "images": 16, "rejected": [{"path": "benign/broken.png", "reason": "truncated"}], "rejected_count": 1,
        "left_out": [{"path": "notes.txt", "reason": "not an image"}], "left_out_count": 1200,
        "issues": [
            {"kind": "copies", "severity": "warning", "count": 2, "message": "2 exact copies", "examples": ["a = b"]}
        ],
    }  # fmt: skip
    with app.app_context():
        factories.make_dataset(report=report, user=factories.find_user("researcher"))
    auth.login("viewer")
    html = client.get("/datasets/1").text
    for text in (
        "2 exact copies",
        "a = b",
        "benign/broken.png",
        "truncated",
        "notes.txt",
        "(1\u202f200)",
        "researcher@",
    ):
        assert text in html
    assert html.count("/datasets/1/thumbnails/") == 12
    assert "Nothing uses this data set yet." in html


def test_images_are_shown_in_pages_by_class_and_split(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_dataset(train=130, validation=4, test=4)
    auth.login("viewer")
    first = client.get("/datasets/1/images?label=benign&split=train")
    assert "65 images" in first.text
    assert first.text.count("<img src") == 60 + 1  # and the site's own sign
    second = client.get("/datasets/1/images?label=benign&split=train&start=120")
    assert second.text.count("<img src") == 5 + 1
    assert "No image fits" in client.get("/datasets/1/images?label=nothing").text


def test_an_image_is_the_same_for_ever_under_an_address_with_its_hash(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        factories.make_dataset()
    auth.login("viewer")
    kept, passing = client.get("/datasets/1/images/3.png?v=abc"), client.get("/datasets/1/images/3.png")
    assert kept.data.startswith(b"\x89PNG")
    assert kept.cache_control.immutable
    assert kept.cache_control.private
    assert not passing.cache_control.immutable
    assert client.get("/datasets/1/images/99.png").status_code == 404


def test_a_large_image_has_a_small_thumbnail(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_dataset(size_px=400)
    auth.login("viewer")
    image, thumbnail = client.get("/datasets/1/images/0.png"), client.get("/datasets/1/thumbnails/0")
    assert len(thumbnail.data) < len(image.data) / 4
    assert thumbnail.mimetype == "image/jpeg"


def test_only_a_data_set_that_nothing_uses_can_be_deleted(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_experiment(factories.make_dataset("Used"))
        factories.make_dataset("Free")
    auth.login()
    assert "/datasets/1/delete" not in client.get("/datasets/1").text
    refused = client.post("/datasets/1/delete", data=auth.form())
    assert refused.status_code == 409
    assert "experiments 1" in refused.text
    assert "deleted" in client.post("/datasets/2/delete", data=auth.form(), follow_redirects=True).text
    assert client.get("/datasets/2").status_code == 404
