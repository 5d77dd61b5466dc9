"""What an archive holds is shown and corrected before any image becomes part of a data set."""

from io import BytesIO

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.factories import Auth
from tests.ml.factories import encoded, noise, zip_bytes
from tests.webapp.conftest import Ingest
from webapp.models import Dataset, db


def archive() -> bytes:
    content = {
        f"{label}/SOB_{label[0].upper()}_DC-14-{patient}-40-{image:03d}.png": encoded(noise(patient + image, 32, 32))
        for label, patients in (("benign", (10, 20, 30)), ("malignant", (40, 50, 60)), ("normal", (70, 80, 90)))
        for patient in patients
        for image in range(3)
    }
    return zip_bytes(content | {"benign/x_mask.png": encoded(noise(200, 32, 32))})


@pytest.fixture
def reviewed(client: FlaskClient, auth: Auth, ingest: Ingest) -> int:
    """The id of a data set that a worker has looked at."""
    auth.login("researcher")
    form = auth.form(name="Slides", archive=(BytesIO(archive()), "slides.zip"))
    place = client.post("/datasets/new", data=form).location
    dataset_id = int(place.rsplit("/", 1)[1])
    ingest(dataset_id)
    return dataset_id


def read(app: Flask, dataset_id: int) -> Dataset:
    with app.app_context():
        dataset = db.session.get_one(Dataset, dataset_id)
        db.session.expunge(dataset)
        return dataset


def test_the_page_shows_what_was_found_and_proposed(reviewed: int, client: FlaskClient) -> None:
    page = client.get(f"/datasets/{reviewed}").text
    for text in ("Confirm and read the images", "malignant (9)", "Files left out (1)", "x_mask.png", "PNG 27"):
        assert text in page


def test_a_typed_pattern_is_tried_on_the_paths(reviewed: int, client: FlaskClient) -> None:
    url = f"/datasets/{reviewed}/tried"
    page = client.get(
        url, query_string={"options.group_pattern": r"-(14-\d+)-", "options.exclude_pattern": "benign"}
    ).text
    assert "14-40" in page
    assert "<strong>6</strong> groups" in page
    assert "<strong>9</strong> left out" in page
    for bad in ("(", "a" * 501, "(a|aa)+$"):
        answer = client.get(url, query_string={"options.group_pattern": bad})
        assert answer.status_code == 200
    assert "Not a regular expression" in client.get(url, query_string={"options.group_pattern": "("}).text


def test_what_is_confirmed_is_what_comes_in(
    reviewed: int, app: Flask, client: FlaskClient, auth: Auth, ingest: Ingest
) -> None:
    values = {"options.group_pattern": r"-(14-\d+)-", "options.exclude_pattern": "_mask", "class.2": "benign"}
    answer = client.post(f"/datasets/{reviewed}/confirm", data=auth.form(**values, **{"options.seed": "3"}))
    assert answer.status_code == 302
    ingest(reviewed)
    dataset = read(app, reviewed)
    assert dataset.status == "ready", dataset.rejected_because
    assert [entry["name"] for entry in dataset.classes] == ["benign", "malignant"]
    assert (dataset.images, dataset.groups, dataset.positive_class) == (27, 9, "malignant")


def test_emptied_patterns_mean_none(reviewed: int, app: Flask, client: FlaskClient, auth: Auth, ingest: Ingest) -> None:
    client.post(f"/datasets/{reviewed}/confirm", data=auth.form(**{"options.group_pattern": ""}))
    ingest(reviewed)
    dataset = read(app, reviewed)
    assert (dataset.images, dataset.groups) == (28, 0)


def test_a_mistake_is_shown_beside_its_field_and_nothing_begins(
    reviewed: int, app: Flask, client: FlaskClient, auth: Auth
) -> None:
    answer = client.post(f"/datasets/{reviewed}/confirm", data=auth.form(**{"options.group_pattern": "("}))
    assert answer.status_code == 422
    assert "Not a regular expression" in answer.text
    assert read(app, reviewed).status == "review"


@pytest.mark.parametrize("name", ["\x00", "a" * 201])
def test_a_class_has_a_name_that_can_be_read(reviewed: int, client: FlaskClient, auth: Auth, name: str) -> None:
    answer = client.post(f"/datasets/{reviewed}/confirm", data=auth.form(**{"class.1": name}))
    assert answer.status_code == 422
    assert "at most 200 printable characters" in answer.text


def test_only_what_is_in_review_can_be_confirmed(reviewed: int, client: FlaskClient, auth: Auth) -> None:
    assert client.post(f"/datasets/{reviewed}/confirm", data=auth.form()).status_code == 302
    assert client.post(f"/datasets/{reviewed}/confirm", data=auth.form()).status_code == 409


def test_clients_review_over_rest(client: FlaskClient, auth: Auth, ingest: Ingest) -> None:
    token = auth.token("write")
    form = {"archive": (BytesIO(archive()), "a.zip"), "name": "A", "options": '{"review": true}'}
    dataset_id = client.post("/api/v1/datasets", data=form, headers=token).json["id"]
    ingest(dataset_id)
    found = client.get(f"/api/v1/datasets/{dataset_id}", headers=token).json
    assert (found["status"], found["preview"]["groups"], found["preview"]["images"]) == ("review", 9, 27)
    options = {"options": {"classes": {"normal": ""}}}
    assert client.post(f"/api/v1/datasets/{dataset_id}/confirm", json=options, headers=token).status_code == 202
    ingest(dataset_id)
    found = client.get(f"/api/v1/datasets/{dataset_id}", headers=token).json
    assert (found["status"], found["groups"], len(found["classes"])) == ("ready", 6, 2)


def test_what_waits_for_a_person_can_be_discarded(reviewed: int, client: FlaskClient, auth: Auth) -> None:
    assert client.post(f"/datasets/{reviewed}/delete", data=auth.form()).status_code == 302
    assert client.get(f"/datasets/{reviewed}").status_code == 404


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"class.1": "", "class.2": ""}, "one class only"),
        ({"options.exclude_pattern": "."}, "no usable images"),
        ({"options.positive_class": "malignant"}, "needs a data set of 2 classes"),
    ],
)
def test_what_cannot_be_done_as_confirmed_is_asked_again_and_the_archive_stays(
    reviewed: int, app: Flask, client: FlaskClient, auth: Auth, ingest: Ingest, values: dict[str, str], reason: str
) -> None:
    client.post(f"/datasets/{reviewed}/confirm", data=auth.form(**values))
    ingest(reviewed)
    dataset = read(app, reviewed)
    assert dataset.status == "review"
    assert reason in (dataset.rejected_because or "")
    assert "Correct the form and confirm again" in client.get(f"/datasets/{reviewed}").text
    client.post(f"/datasets/{reviewed}/confirm", data=auth.form())
    ingest(reviewed)
    dataset = read(app, reviewed)
    assert (dataset.status, dataset.rejected_because) == ("ready", None)


def test_a_renamed_class_stays_the_positive_one(
    reviewed: int, app: Flask, client: FlaskClient, auth: Auth, ingest: Ingest
) -> None:
    values = {"class.1": "cancer", "class.2": "", "options.positive_class": "malignant"}
    client.post(f"/datasets/{reviewed}/confirm", data=auth.form(**values))
    ingest(reviewed)
    assert read(app, reviewed).positive_class == "cancer"


def test_a_confirmation_over_rest_keeps_what_was_asked_for_at_first(
    app: Flask, client: FlaskClient, auth: Auth, ingest: Ingest
) -> None:
    token = auth.token("write")
    form = {"archive": (BytesIO(archive()), "a.zip"), "name": "A", "options": '{"review": true, "seed": 7}'}
    dataset_id = client.post("/api/v1/datasets", data=form, headers=token).json["id"]
    ingest(dataset_id)
    options = {"options": {"classes": {"normal": ""}}}
    assert client.post(f"/api/v1/datasets/{dataset_id}/confirm", json=options, headers=token).status_code == 202
    dataset = read(app, dataset_id)
    assert (dataset.options["seed"], dataset.options["classes"]) == (7, {"normal": ""})


def test_a_pattern_that_is_slow_on_every_path_is_stopped_for_all(
    reviewed: int, app: Flask, client: FlaskClient
) -> None:
    with app.app_context():
        dataset = db.session.get_one(Dataset, reviewed)
        dataset.preview = dataset.preview | {"sample_paths": [f"{'a' * 26}{number}." for number in range(500)]}
        db.session.commit()
    answer = client.get(f"/datasets/{reviewed}/tried", query_string={"options.group_pattern": "(a|aa)+$"})
    assert "takes more than" in answer.text
