"""The images of a data set: the grid and the page of one image."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from ml import scored
from tests import factories
from tests.factories import Auth
from webapp.datasets import contents
from webapp.models import Dataset, db


@pytest.mark.parametrize(
    ("query", "images"),
    [("", 16), ("label=benign", 8), ("split=test", 4), ("quarantined=1", 0), ("quarantined=0", 16), ("cluster=7", 0),
     ("issue=tiny_image", 0), ("group=nobody", 0), ("start=-4", 16), ("start=99999999999999999999", 16)],
)  # fmt: skip
def test_the_grid_counts_what_fits_the_filter(
    app: Flask, client: FlaskClient, auth: Auth, query: str, images: int
) -> None:
    with app.app_context():
        factories.make_dataset()
    auth.login("viewer")
    answer = client.get(f"/datasets/1/images?{query}")
    assert answer.status_code == 200
    assert f"{images} images" in answer.text


def test_the_page_of_an_image_leads_to_its_neighbours_within_the_filter(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        factories.make_dataset()
    auth.login("viewer")
    page = client.get("/datasets/1/images/2?label=benign").text
    for text in ("/datasets/1/images/0?label=benign", "/datasets/1/images/4?label=benign", "SHA-256", "benign"):
        assert text in page
    assert client.get("/datasets/1/images/16").status_code == 404


def test_clients_filter_images_by_finding_and_quarantine(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_dataset()
    auth.login("viewer")
    assert client.get("/api/v1/datasets/1/images?quarantined=1").json == {"items": [], "next": None}
    items = client.get("/api/v1/datasets/1/images?quarantined=0&split=test").json["items"]
    assert len(items) == 4
    assert not {"offset", "thumbnail_offset"} & items[0].keys()


def test_a_thumbnail_is_read_from_beside_the_image(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        dataset = factories.make_dataset(size_px=400)
        row = contents.row_of(dataset, 5)
        with contents.store().open(dataset.pack_sha256s[row.pack]) as pack:
            kept = pack.read()[row.thumbnail_offset : row.thumbnail_offset + row.thumbnail_length]
    auth.login("viewer")
    assert kept.startswith(b"\xff\xd8")
    assert client.get("/datasets/1/thumbnails/5").data == kept


def _judged(said: dict[str, float], split: str = "test") -> None:
    """A version whose evaluation said that of image 12."""
    version = factories.make_version()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scored"
        scored.write(path, version.classes, [(12, [said[label] for label in version.classes])])
        with path.open("rb") as stream:
            sha256 = contents.store().keep(stream)
    factories.make_evaluation(version, split, predictions_sha256=sha256)


@pytest.mark.parametrize(
    ("benign", "split", "texts"),
    [(0.875, "test", ["87.5"]), (0.125, "test", ["87.5", ">wrong<"]), (0.125, "all", [">wrong<"])],
)
def test_the_page_of_an_image_tells_what_versions_say(
    app: Flask, client: FlaskClient, auth: Auth, benign: float, split: str, texts: list[str]
) -> None:
    with app.app_context():
        _judged({"benign": benign, "malignant": 1 - benign}, split)
    auth.login("viewer")
    page = client.get("/datasets/1/images/12").text
    for text in ("tested on it", *texts):
        assert text in page
    assert (">wrong<" in page) == (benign < 0.5)
    assert "not evaluated on this image" in client.get("/datasets/1/images/13").text
    assert "trained on it" in client.get("/datasets/1/images/0").text


def test_what_a_version_saw_in_an_earlier_version_of_the_data_set_is_told(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        _judged({"benign": 0.125, "malignant": 0.875}, "test")
        first = db.session.get_one(Dataset, 1)
        second = factories.make_dataset(line=first.line, number=2, parent_number=1)
        rows = contents.manifest_of(second).rows
        changed_rows(second, sha256={15: rows[12].sha256, 12: "0" * 64})
        address = f"/datasets/{second.id}/images"
    auth.login("viewer")
    moved = client.get(f"{address}/15").text
    for text in ("tested on it", ">version 1<", "87.5"):
        assert text in moved
    assert "What versions say" not in client.get(f"{address}/12").text
    assert ">version 1<" not in client.get("/datasets/1/images/12").text


def test_answers_that_are_gone_leave_the_page_of_the_image_whole(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_evaluation(factories.make_version(), predictions_sha256="0" * 64)
    auth.login("viewer")
    page = client.get("/datasets/1/images/12")
    assert page.status_code == 200
    assert "not evaluated on this image" in page.text


def changed_rows(dataset: Dataset, **changes: dict[int, Any]) -> None:
    """Writes the data set's list of images anew: `changes` are values of a field by the number of the row."""
    manifest = contents.manifest_of(dataset)
    rows = [
        replace(row, **{field: values[number] for field, values in changes.items() if number in values})
        for number, row in enumerate(manifest.rows)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest"
        manifest.model_copy(update={"rows": tuple(rows)}).write(path)
        with path.open("rb") as stream:
            dataset.manifest_sha256 = contents.store().keep(stream)
    db.session.commit()


def test_the_page_of_an_image_shows_its_group_its_copies_and_what_is_wrong(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        changed_rows(
            factories.make_dataset(),
            group={0: "14-2523", 3: "14-2523", 12: "14-2523"},
            cluster={0: 7, 5: 7},
            issues={0: ["near_copy", "group_across_splits", "something_new"]},
            quarantined={0: True},
            metadata={0: {"view": "MLO <left>"}},
        )
    auth.login("viewer")
    page = client.get("/datasets/1/images/0").text
    for text in (
        "It is in quarantine", "There is a near copy of it", "Something new.", "14-2523", "MLO &lt;left&gt;",
        "test (another split)", "/datasets/1/thumbnails/3", "/datasets/1/thumbnails/12", "/datasets/1/thumbnails/5",
    ):  # fmt: skip
        assert text in page
    assert page.count("another split)") == 1
    for query, images in (("group=14-2523", 3), ("cluster=7", 2), ("issue=near_copy", 1), ("quarantined=1", 1)):
        assert f"{images} images" in client.get(f"/datasets/1/images?{query}").text
        assert len(client.get(f"/api/v1/datasets/1/images?{query}").json["items"]) == images


@pytest.mark.parametrize("query", ["cluster=x", "cluster=-1", "quarantined=yes"])
def test_a_filter_that_makes_no_sense_is_refused_to_clients(
    app: Flask, client: FlaskClient, auth: Auth, query: str
) -> None:
    with app.app_context():
        factories.make_dataset()
    auth.login("viewer")
    assert client.get(f"/api/v1/datasets/1/images?{query}").status_code == 422
    assert client.get(f"/datasets/1/images?{query}").status_code == 200


def test_chosen_images_are_left_out_of_the_next_version_by_researchers_alone(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        factories.make_dataset()
        left_out = contents.row_of(db.session.get_one(Dataset, 1), 3).path
    auth.login("viewer")
    assert 'type="checkbox"' not in client.get("/datasets/1/images").text
    auth.logout()
    auth.login()
    assert client.get("/datasets/1/images").text.count('name="number"') == 16
    assert client.post("/datasets/1/exclude", data=auth.form(number=["9" * 5000])).status_code in (302, 422)
    made = client.post("/datasets/1/exclude", data=auth.form(number=["3"]))
    assert made.status_code == 302
    with app.app_context():
        newest = db.session.scalars(select(Dataset).order_by(Dataset.id.desc())).first()
        assert newest is not None
        assert newest.change["excluded"] == [left_out]
