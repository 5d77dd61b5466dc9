"""Batch predictions: an archive in, a line for each image out."""

import csv
import datetime
import io
import signal
import zipfile
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from jobs import janitor, tasks, work
from ml.images import encode_canonical
from tests.answers import guard
from tests.factories import Auth, make_activation, make_dataset, make_experiment, make_user, make_version
from tests.ml.factories import encoded, noise
from webapp import objects
from webapp.datasets import contents
from webapp.models import BatchPrediction, db, now

URL = "/api/v1/batch-predictions"
BRIGHT, DARK = (encode_canonical(np.full((24, 24, 3), level, np.uint8)) for level in (230, 20))


@pytest.fixture
def score(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Does the job of a batch as a worker would, with the application of the test."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(work, "create_app", lambda **options: app)
    yield tasks.score
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def headers(app: Flask, auth: Auth) -> dict[str, str]:
    """Of a client system, with a version active."""
    found = auth.token("write")
    with app.app_context():
        make_activation()
    return found


def archive(**files: bytes) -> io.BytesIO:
    """A zip of these files; `__` in a name stands for a folder, `_` for the dot of the suffix."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, data in files.items():
            file.writestr(name.replace("__", "/").replace("_", "."), data)
    packed.seek(0)
    return packed


def send(client: FlaskClient, headers: dict[str, str], packed: io.BytesIO, **fields: str) -> TestResponse:
    return client.post(URL, data={"archive": (packed, "images.zip"), **fields}, headers=headers)


def test_each_image_is_answered_as_by_predict_and_a_bad_one_is_an_error_in_its_row(
    client: FlaskClient, headers: dict[str, str], score: Callable[[int], None]
) -> None:
    packed = archive(bright_png=BRIGHT, a__b__dark_png=DARK, broken_png=b"no image", notes_txt=b"left out")
    sent = send(client, headers, packed, name="Ward 7")
    assert (sent.status_code, sent.json["status"]) == (202, "queued")
    score(sent.json["id"])
    batch = client.get(sent.json["url"], headers=headers).json
    assert [batch[name] for name in ("status", "images", "errors", "left_out")] == ["succeeded", 3, 1, 1]
    found = client.get(batch["results"]["json"], headers=headers).json["items"]
    assert [one["filename"] for one in found] == ["bright.png", "a/b/dark.png", "broken.png"]
    assert "not an image" in found[2]["error"]
    alone = client.post("/predict", data=BRIGHT, headers=headers | {"Content-Type": "image/png"}).json["predictions"][0]
    assert found[0]["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-6)
    assert {found[0][name] == alone[name] for name in ("label", "decision", "operating_point")} == {True}


def test_an_image_outside_the_domain_gets_no_label(
    app: Flask, client: FlaskClient, auth: Auth, score: Callable[[int], None]
) -> None:
    headers = auth.token("write")
    with app.app_context():
        dataset = make_dataset(train=40, validation=40)
        version = make_version(make_experiment(dataset, status="succeeded"))
        guard(version)
        make_activation(version)
        usual = contents.image_bytes(dataset, 45)
    sent = send(client, headers, archive(noise_png=encoded(noise()), usual_png=usual))
    score(sent.json["id"])
    found = client.get(f"{URL}/{sent.json['id']}/results.json", headers=headers).json["items"]
    assert [(one["in_domain"], one["label"]) for one in found] == [(False, None), (True, "malignant")]


def test_results_are_a_table_in_which_no_name_becomes_a_formula(
    client: FlaskClient, headers: dict[str, str], score: Callable[[int], None]
) -> None:
    sent = send(client, headers, archive(**{"=SUM(A1)_png": BRIGHT, "dark_png": DARK}))
    score(sent.json["id"])
    answer = client.get(f"{URL}/{sent.json['id']}/results.csv", headers=headers)
    assert answer.mimetype == "text/csv"
    first, second = csv.DictReader(io.StringIO(answer.text))
    assert first["filename"] == "'=SUM(A1).png"
    assert float(second["probability"]) == max(float(second[name]) for name in second if name.startswith("p_"))


def test_results_come_in_pages(client: FlaskClient, headers: dict[str, str], score: Callable[[int], None]) -> None:
    sent = send(client, headers, archive(a_png=BRIGHT, b_png=DARK, c_png=DARK))
    score(sent.json["id"])
    address = f"{URL}/{sent.json['id']}/results.json?limit=2&cursor="
    first = client.get(address, headers=headers).json
    second = client.get(address + first["next"], headers=headers).json
    assert [one["filename"] for page in (first, second) for one in page["items"]] == ["a.png", "b.png", "c.png"]
    assert second["next"] is None


def test_a_named_version_scores_instead_of_the_active_one(
    app: Flask, client: FlaskClient, headers: dict[str, str]
) -> None:
    with app.app_context():
        other = make_version().id
    assert send(client, headers, archive(a_png=DARK), version=str(other)).json["version"] == other
    assert send(client, headers, archive(a_png=DARK), version="999").status_code == 404
    assert send(client, headers, archive(a_png=DARK), version="x").json["errors"][0]["field"] == "version"


def test_without_an_active_version_one_must_be_named(client: FlaskClient, auth: Auth) -> None:
    answer = send(client, auth.token("write"), archive(a_png=DARK))
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)


@pytest.mark.parametrize(("packed", "status"), [(io.BytesIO(b""), 422), (io.BytesIO(b"plain text"), 415)])
def test_what_is_no_archive_is_refused(
    client: FlaskClient, headers: dict[str, str], packed: io.BytesIO, status: int
) -> None:
    assert send(client, headers, packed).status_code == status


def test_an_archive_without_images_fails_saying_so(
    client: FlaskClient, headers: dict[str, str], score: Callable[[int], None]
) -> None:
    sent = send(client, headers, archive(notes_txt=b"hello"))
    score(sent.json["id"])
    batch = client.get(sent.json["url"], headers=headers).json
    assert (batch["status"], batch["results"]) == ("failed", None)
    assert "no image" in batch["failed_because"]
    assert client.get(f"{URL}/{batch['id']}/results.csv", headers=headers).status_code == 409


def test_a_waiting_batch_can_be_cancelled_once(client: FlaskClient, headers: dict[str, str]) -> None:
    sent = send(client, headers, archive(a_png=DARK)).json
    assert client.post(f"{URL}/{sent['id']}/cancel", headers=headers).json["status"] == "cancelled"
    assert client.post(f"{URL}/{sent['id']}/cancel", headers=headers).status_code == 409


def test_a_batch_whose_worker_is_lost_goes_back_to_the_queue(
    app: Flask, client: FlaskClient, headers: dict[str, str]
) -> None:
    sent = send(client, headers, archive(a_png=DARK)).json
    with app.app_context():
        batch = db.session.get_one(BatchPrediction, sent["id"])
        batch.status, batch.attempt_token, batch.heartbeat_at = "running", "lost", now() - datetime.timedelta(minutes=5)
        db.session.commit()
        janitor.free_lost()
        db.session.refresh(batch)
        assert (batch.status, batch.attempt_token, batch.losses) == ("queued", None, 1)
        assert batch.archive_part_sha256s[0] in objects.in_use()


def test_a_finished_upload_is_scored(
    client: FlaskClient, headers: dict[str, str], score: Callable[[int], None]
) -> None:
    data = archive(a_png=DARK).getvalue()
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(data)), "Content-Type": "application/offset+octet-stream"}
    upload = client.post("/uploads/", data=data, headers=headers | tus).headers["Location"].rsplit("/", 1)[1]
    sent = client.post(URL, json={"upload": upload}, headers=headers)
    score(sent.json["id"])
    assert client.get(sent.json["url"], headers=headers).json["images"] == 1
    assert client.post(URL, json={"upload": upload}, headers=headers).status_code == 404


def test_results_are_deleted_after_their_days_and_the_archive_at_once(
    app: Flask, client: FlaskClient, headers: dict[str, str], score: Callable[[int], None]
) -> None:
    sent = send(client, headers, archive(a_png=DARK)).json
    score(sent["id"])
    with app.app_context():
        batch = db.session.get_one(BatchPrediction, sent["id"])
        assert (batch.archive_part_sha256s, batch.results_sha256 in objects.in_use()) == ([], True)
        batch.finished_at = now() - datetime.timedelta(days=31)
        db.session.commit()
        janitor.sweep()
    answer = client.get(f"{URL}/{sent['id']}/results.csv", headers=headers)
    assert (answer.status_code, "30 days" in answer.json["detail"]) == (410, True)


def test_a_researcher_starts_and_reads_a_batch_in_the_browser(
    app: Flask, client: FlaskClient, auth: Auth, score: Callable[[int], None]
) -> None:
    auth.login("researcher")
    with app.app_context():
        make_activation()
    form = auth.form(archive=(archive(dark_png=DARK, bad_png=b"bad"), "ward.zip"))
    answer = client.post("/batches/", data=form, follow_redirects=True)
    assert "hx-get" in answer.text
    score(1)
    page = client.get("/batches/1").text
    assert "dark.png" in page
    assert "not an image" in page
    assert "dark.png" in client.get("/batches/1/results.csv").text
    empty = client.post("/batches/", data=auth.form())
    assert (empty.status_code, "There is no file" in empty.text) == (422, True)
    other = auth.form(archive=(archive(dark_png=DARK), "ward.zip"), version="newest")
    unread = client.post("/batches/", data=other)
    assert (unread.status_code, "no number of a version" in unread.text) == (422, True)


def test_a_viewer_gets_no_batch(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        make_user("researcher")
    assert client.get(URL, headers=auth.token("write", "viewer")).status_code == 403
