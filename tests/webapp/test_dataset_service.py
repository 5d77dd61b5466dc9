"""Data sets: brought in as rows that wait, read through their manifest, forgotten only where nothing needs them."""

import io
import tarfile
import zipfile
from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import select

from ml import images
from ml.ingest_options import IngestOptions
from tests.conftest import application
from tests.factories import find_user, make_dataset, make_experiment, make_user, make_version
from tests.ml import small_dataset
from webapp import queue
from webapp.datasets import contents, service
from webapp.errors import Conflict, Invalid, NotFound, UnsupportedMedia
from webapp.models import AuditEvent, Dataset, db
from webapp.registry import service as registry
from webapp.settings import Settings


def a_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("benign/1.png", b"x")
    return file.getvalue()


def a_tar(mode: str) -> Callable[[], bytes]:
    def make() -> bytes:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
            archive.addfile(tarfile.TarInfo("benign/1.png"))
        return file.getvalue()

    return make


ARCHIVES = {"zip": a_zip, "tar": a_tar("w"), "tar.gz": a_tar("w:gz"), "tar.xz": a_tar("w:xz")}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_is_kept_and_its_ingest_waits(context: Flask, kind: str) -> None:
    data, options = ARCHIVES[kind](), IngestOptions(seed=7)
    dataset = service.create_from_archive(io.BytesIO(data), "  My \n set ", options, make_user())
    assert (dataset.status, dataset.name, dataset.options["seed"]) == ("pending", "My set", 7)
    with service.store().open((dataset.archive_part_sha256s or [""])[0]) as stream:
        assert stream.read() == data
    assert queue.rows(queue.INGEST) == [dataset.id]
    assert db.session.scalars(select(AuditEvent)).one().subject == f"dataset:{dataset.id}"


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        (b"", Invalid),
        (b"hello", UnsupportedMedia),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 600, UnsupportedMedia),
        (b"Rar!\x1a\x07\x00", UnsupportedMedia),
        (b"x" * 262, UnsupportedMedia),
    ],
)
def test_what_is_no_archive_is_refused_before_it_is_kept(context: Flask, data: bytes, refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        service.create_from_archive(io.BytesIO(data), "x", IngestOptions(), make_user())
    assert list(service.store().addresses()) == []
    assert db.session.scalars(select(Dataset)).all() == []


@pytest.mark.parametrize("name", ["", "  \t ", "x" * 201, "a\0b", "a\u202eb", "a\x1bb"])
def test_a_name_that_cannot_be_shown_is_refused(context: Flask, name: str) -> None:
    with pytest.raises(Invalid):
        service.create_from_archive(io.BytesIO(a_zip()), name, IngestOptions(), make_user())
    assert list(service.store().addresses()) == []


def test_a_well_known_set_is_brought_in_by_name(context: Flask) -> None:
    dataset = service.create_from_source("breastmnist_64", "", IngestOptions(), make_user())
    assert (dataset.name, dataset.source_name, dataset.archive_part_sha256s) == (
        "breastmnist_64",
        "breastmnist_64",
        None,
    )
    with pytest.raises(Invalid, match="imagenet"):
        service.create_from_source("imagenet", "", IngestOptions(), find_user())


def test_a_queue_that_is_away_keeps_no_upload_out(settings: Settings) -> None:
    with application(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})) as app, app.app_context():
        dataset = service.create_from_archive(io.BytesIO(a_zip()), "x", IngestOptions(), make_user())
        db.session.expire_all()
        assert dataset.status == "pending"


def test_only_a_ready_data_set_is_given_to_training(any_context: Flask) -> None:
    waiting = service.create_from_source("synthetic", "", IngestOptions(), make_user())
    ready = make_dataset()
    assert service.ready() == [ready]
    assert service.get_ready(ready.id) is ready
    with pytest.raises(Conflict, match="pending"):
        service.get_ready(waiting.id)
    with pytest.raises(Conflict, match="pending"):
        contents.manifest_of(waiting)
    with pytest.raises(NotFound, match="99"):
        service.get(99)


def test_images_are_found_by_label_and_split(context: Flask) -> None:
    dataset = make_dataset(train=8, validation=4, test=4)
    found = list(contents.rows_of(dataset, label="malignant", split="test", group=None))
    assert [(number, row.label, row.split) for number, row in found] == [
        (13, "malignant", "test"),
        (15, "malignant", "test"),
    ]
    assert [number for number, _ in contents.rows_of(dataset, 14)] == [14, 15]
    assert list(contents.rows_of(dataset, label="nothing")) == []


def test_an_image_comes_back_as_it_went_in(context: Flask) -> None:
    dataset = make_dataset()
    pixels_HWC = images.decode(contents.image_bytes(dataset, 3))
    assert (pixels_HWC == small_dataset.draw(is_bright=True, size_px=32, seed=3)).all()
    for number in (-1, 16):
        with pytest.raises(NotFound, match=str(number)):
            contents.image_bytes(dataset, number)


def test_a_sample_shows_every_class(context: Flask) -> None:
    assert contents.sample(make_dataset(), per_class=2) == {"benign": [0, 2], "malignant": [1, 3]}


def test_a_data_set_that_something_needs_stays(any_context: Flask) -> None:
    dataset, user = make_dataset(), make_user()
    experiment = make_experiment(dataset)
    with pytest.raises(Conflict, match=f"experiments {experiment.id}"):
        service.delete(dataset, user)
    assert service.get(dataset.id) is dataset


def test_a_data_set_that_a_version_was_evaluated_on_stays(context: Flask) -> None:
    user, other = make_user(), make_dataset("Other")
    registry.start_evaluation(make_version().id, other.id, "test", user)
    with pytest.raises(Conflict, match="evaluations"):
        service.delete(other, user)


def test_a_data_set_that_nothing_needs_is_forgotten_but_not_that_it_was_there(any_context: Flask) -> None:
    dataset, user = make_dataset("Old"), make_user()
    number = dataset.id
    service.delete(dataset, user)
    with pytest.raises(NotFound):
        service.get(number)
    event = db.session.scalars(select(AuditEvent).where(AuditEvent.action == "dataset.delete")).one()
    assert (event.subject, event.details["name"]) == (f"dataset:{number}", "Old")
