"""A changed data set is the next version of its line; what was taken out is really gone."""

import re
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs import tasks
from ml.config import TrainConfig
from ml.revision import Change
from tests import factories
from tests.factories import Auth
from tests.ml.factories import encoded, noise, zip_bytes
from tests.webapp.conftest import Ingest
from webapp.datasets import contents, versions
from webapp.datasets import service as datasets
from webapp.errors import Conflict
from webapp.models import AuditEvent, Dataset, ModelVersion, db, take_turns


def content(first_seed: int = 0) -> dict[str, bytes]:
    """Two classes of five patients with three images each; one image lies in both classes."""
    found = {
        f"{label}/patient{5 * position + patient}_{image}.png": encoded(
            noise(first_seed + 100 * position + 10 * patient + image, 32, 32)
        )
        for position, label in enumerate(("benign", "malignant"))
        for patient in range(5)
        for image in range(3)
    }
    return found | {"malignant/patient9_copy.png": found["benign/patient0_0.png"]}


@pytest.fixture
def dataset_id(client: FlaskClient, auth: Auth, ingest: Ingest) -> int:
    auth.login("researcher")
    return bring_in(client, auth, ingest, content())


def bring_in(client: FlaskClient, auth: Auth, ingest: Ingest, files: dict[str, bytes]) -> int:
    form = {"archive": (BytesIO(zip_bytes(files)), "a.zip"), "name": "A"}
    found = client.post("/api/v1/datasets", data=form, headers=auth.token("write")).json["id"]
    ingest(found)
    return int(found)


def post(client: FlaskClient, auth: Auth, ingest: Ingest, url: str, **values: object) -> Dataset:
    """The version that the form makes."""
    answer = client.post(url, data=auth.form(**values))
    assert answer.status_code == 302, answer.text
    made = int(answer.location.rsplit("/", 1)[1])
    ingest(made)
    dataset = db.session.get_one(Dataset, made)
    db.session.refresh(dataset)
    assert dataset.status == "ready", dataset.rejected_because
    return dataset


def test_one_picture_under_two_labels_waits_for_a_person(dataset_id: int, client: FlaskClient) -> None:
    page = client.get(f"/datasets/{dataset_id}").text
    assert "<strong>2</strong> images wait in quarantine" in page
    assert "A random split by image would have put" in page
    page = client.get(f"/datasets/{dataset_id}/quarantine").text
    assert page.count('<select class="form-select form-select-sm mt-1"') == 2


def test_a_long_quarantine_is_shown_page_by_page(
    client: FlaskClient, auth: Auth, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.datasets.changes.PICTURES_SHOWN", 1)
    auth.login("researcher")
    files = content()
    dataset_id = bring_in(client, auth, ingest, files | {"malignant/other_copy.png": files["benign/patient1_0.png"]})
    pages = [client.get(f"/datasets/{dataset_id}/quarantine?page={page}").text for page in (1, 2, 99, "x")]
    assert [page.count('<select class="form-select form-select-sm mt-1"') for page in pages] == [2] * 4
    assert "Page 1 of 2, 2 pictures" in pages[0]
    shown = [re.findall(r'<select [^>]* name="([^"]+)"', page) for page in pages]
    assert shown[1] == shown[2] != shown[0] == shown[3]


def test_a_decision_makes_the_next_version(
    dataset_id: int, context: Flask, client: FlaskClient, auth: Auth, ingest: Ingest
) -> None:
    parent = db.session.get_one(Dataset, dataset_id)
    (first, kept), (second, wrong) = versions.contradictions(parent)[0]
    url = f"/datasets/{dataset_id}/quarantine"
    made = post(client, auth, ingest, url, **{f"decision.{first}": f"as {kept.label}", f"decision.{second}": "out"})
    rows = {row.path: row for row in contents.manifest_of(made).rows}
    assert (made.number, made.parent_number, made.line) == (2, 1, parent.line)
    assert not rows[kept.path].quarantined
    assert wrong.path not in rows
    assert made.report["difference"] | {"moved": 0} == {
        "removed": 1,
        "relabelled": 0,
        "released": 1,
        "moved": 0,
        "groups_removed": [],
    }
    assert made.sha256 != parent.sha256
    assert "1 removed" in client.get(f"/datasets/{made.id}").text


def test_chosen_images_are_left_out_and_a_split_is_made_anew(
    dataset_id: int, context: Flask, client: FlaskClient, auth: Auth, ingest: Ingest
) -> None:
    made = post(client, auth, ingest, f"/datasets/{dataset_id}/exclude", number=["1", "4"])
    assert made.images == 29
    shares = {"shares.train": "0.4", "shares.validation": "0.3", "shares.test": "0.3"}
    again = post(client, auth, ingest, f"/datasets/{made.id}/split", seed="5", **shares)
    assert (again.number, again.parent_number, again.report["leaks"]) == (3, 2, 0)
    assert sum(entry["test"] for entry in again.classes) > sum(entry["test"] for entry in made.classes)


def test_changes_that_make_no_sense_are_refused_with_a_sentence(
    dataset_id: int, client: FlaskClient, auth: Auth
) -> None:
    for path, values, cause in (
        ("exclude", {}, "No image is chosen"),
        ("exclude", {"number": "999"}, "no image 999"),
        ("quarantine", {}, "Nothing was decided"),
        ("split", {"shares.train": "2"}, "Some values cannot be used"),
        ("split", {"seed": "x"}, "The seed is"),
        ("remove-group", {"group": "nobody"}, "no group"),
    ):
        answer = client.post(f"/datasets/{dataset_id}/{path}", data=auth.form(**values))
        assert answer.status_code == 422, path
        assert cause in answer.text


def test_only_a_ready_data_set_can_be_changed(app: Flask, client: FlaskClient, auth: Auth) -> None:
    auth.login("researcher")
    with app.app_context():
        pending = factories.make_dataset(status="pending").id
    assert client.post(f"/datasets/{pending}/repair", data=auth.form()).status_code == 409


def test_a_group_is_removed_everywhere_and_the_models_that_learned_from_it_are_marked(
    dataset_id: int, context: Flask, client: FlaskClient, auth: Auth, ingest: Ingest
) -> None:
    other_id = bring_in(client, auth, ingest, {f"other {path}": data for path, data in content().items()})
    stranger_id = bring_in(client, auth, ingest, content(first_seed=5000))
    experiment = factories.make_experiment(db.session.get_one(Dataset, dataset_id))
    model = factories.make_version(experiment)
    group = "3"
    page = client.get(f"/datasets/{dataset_id}/remove-group?group={group}").text
    assert model.name in page
    first = post(client, auth, ingest, f"/datasets/{dataset_id}/remove-group", group=group)
    assert first.images == 28
    made = db.session.scalars(db.select(Dataset).where(Dataset.parent_number == 1)).all()
    assert len(made) == 2
    assert stranger_id not in {versions.line_of(one)[-1].id for one in made}
    assert other_id in {versions.line_of(one)[-1].id for one in made}
    db.session.expire_all()
    assert db.session.get_one(ModelVersion, model.id).removed_groups == [group]
    assert f"Learned from group {group}" in client.get(f"/versions/{model.id}").text
    assert db.session.scalar(db.select(AuditEvent).where(AuditEvent.action == "dataset.remove_group"))


def test_the_bytes_of_a_deleted_version_go_and_those_of_others_stay(
    dataset_id: int, context: Flask, client: FlaskClient, auth: Auth, ingest: Ingest
) -> None:
    made = post(client, auth, ingest, f"/datasets/{dataset_id}/exclude", number=["0"])
    parent = db.session.get_one(Dataset, dataset_id)
    gone, kept = set(parent.pack_sha256s), set(made.pack_sha256s)
    assert client.post(f"/datasets/{dataset_id}/delete", data=auth.form()).status_code == 302
    addresses = {address for address, _ in context.extensions["store"].addresses()}
    assert not gone & addresses
    assert kept <= addresses
    assert len(contents.image_bytes(made, 0)) > 0


def test_two_changes_at_once_never_make_one_number(context: Flask) -> None:
    dataset = factories.make_dataset()
    factories.make_dataset(line=dataset.line, number=2, parent_number=1)
    made = versions.change(dataset, Change(repair=True), factories.make_user())
    assert (made.number, made.parent_number) == (3, 1)
    with pytest.raises(Conflict, match="pending"):
        versions.change(made, Change(repair=True), factories.find_user())


def test_the_number_of_a_deleted_version_is_not_given_again(context: Flask) -> None:
    first, user = factories.make_dataset(), factories.make_user()
    second, third = (factories.make_dataset(line=first.line, number=n, parent_number=1) for n in (2, 3))
    for one in (third, second):
        datasets.delete(one, user)
    assert versions.change(first, Change(repair=True), user).number == 4


def newest_rows_of_group(dataset: Dataset, group: str) -> int:
    db.session.expire_all()
    newest = next(one for one in versions.line_of(dataset) if one.status == "ready")
    return sum(row.group == group for row in contents.manifest_of(newest).rows)


def test_a_group_is_removed_though_the_newest_version_was_refused(
    dataset_id: int, context: Flask, client: FlaskClient, auth: Auth, ingest: Ingest
) -> None:
    dataset = db.session.get_one(Dataset, dataset_id)
    ingest(versions.change(dataset, Change(excluded=["no such image"]), factories.find_user()).id)
    made = post(client, auth, ingest, f"/datasets/{dataset_id}/remove-group", group="3")
    assert (made.number, made.parent_number, newest_rows_of_group(made, "3")) == (3, 1, 0)


def test_a_group_cannot_be_removed_past_a_version_in_the_making(
    dataset_id: int, context: Flask, client: FlaskClient, auth: Auth, ingest: Ingest
) -> None:
    dataset = db.session.get_one(Dataset, dataset_id)
    unfinished = versions.change(dataset, Change(excluded=versions.paths_of(dataset, [0])), factories.find_user())
    answer = client.post(f"/datasets/{dataset_id}/remove-group", data=auth.form(group="3"))
    assert answer.status_code == 409
    assert "Version 2 of A is being made" in answer.text
    ingest(unfinished.id)
    db.session.expire_all()
    made = post(client, auth, ingest, f"/datasets/{dataset_id}/remove-group", group="3")
    assert newest_rows_of_group(made, "3") == 0


def test_a_group_is_not_removed_past_a_version_that_became_ready_at_that_moment(
    dataset_id: int, context: Flask, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late() -> None:
        with context.app_context():
            dataset = db.session.get_one(Dataset, dataset_id)
            ingest(versions.change(dataset, Change(excluded=versions.paths_of(dataset, [0])), factories.find_user()).id)
        take_turns()

    monkeypatch.setattr(versions, "take_turns", late)
    with pytest.raises(Conflict, match="became ready"):
        versions.remove_group(db.session.get_one(Dataset, dataset_id), "3", factories.find_user())


def test_two_groups_removed_at_once_are_both_remembered(
    dataset_id: int, context: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late() -> None:
        with context.app_context():
            dataset = db.session.get_one(Dataset, dataset_id)
            dataset.report = dataset.report | {"removed_groups": ["2"]}
            db.session.commit()
        take_turns()

    monkeypatch.setattr(versions, "take_turns", late)
    dataset = db.session.get_one(Dataset, dataset_id)
    versions.remove_group(dataset, "3", factories.find_user())
    assert dataset.report["removed_groups"] == ["2", "3"]


def test_a_group_of_many_images_is_planned_in_a_moment(dataset_id: int, context: Flask, tmp_path: Path) -> None:
    dataset = db.session.get_one(Dataset, dataset_id)
    manifest = contents.manifest_of(dataset)
    one = replace(manifest.rows[0], group="large")
    rows = tuple(replace(one, path=f"{number}.png", sha256=f"{number:064x}") for number in range(20_000))
    manifest.model_copy(update={"rows": rows}).write(tmp_path / "manifest")
    dataset.manifest_sha256 = context.extensions["store"].keep(BytesIO((tmp_path / "manifest").read_bytes()))
    started_s = time.perf_counter()
    assert len(versions.plan_removal(dataset, "large").changes) == 1
    assert time.perf_counter() - started_s < 10  # compared with one another they take minutes


def test_models_that_learn_from_a_group_later_or_by_another_model_are_marked_too(
    dataset_id: int, context: Flask, client: FlaskClient, auth: Auth, ingest: Ingest
) -> None:
    dataset = db.session.get_one(Dataset, dataset_id)
    parent = factories.make_version(factories.make_experiment(dataset, status="succeeded"))
    config = TrainConfig(epochs=1, image_size_px=32, initial_weights=f"version:{parent.id}")
    child = factories.make_version(factories.make_experiment(config=config, status="succeeded"))
    stranger = factories.make_version()
    training = factories.make_experiment(dataset)
    post(client, auth, ingest, f"/datasets/{dataset_id}/remove-group", group="3")
    tasks.train(training.id)
    db.session.expire_all()
    assert [parent.removed_groups, child.removed_groups, stranger.removed_groups] == [["3"], ["3"], []]
    assert training.version is not None, training.failed_because
    assert training.version.removed_groups == ["3"]
    assert "which was removed everywhere" in client.get(f"/datasets/{dataset_id}").text


def test_a_version_whose_parent_went_says_so(dataset_id: int, context: Flask, ingest: Ingest) -> None:
    dataset = db.session.get_one(Dataset, dataset_id)
    made = versions.change(dataset, Change(repair=True), factories.find_user())
    db.session.delete(dataset)
    db.session.commit()
    ingest(made.id)
    db.session.expire_all()
    assert (made.status, made.rejected_because) == (
        "rejected",
        "Version 1, which was to be changed, is deleted. Change another one.",
    )
