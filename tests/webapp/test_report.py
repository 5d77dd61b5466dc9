"""The report of a version: one page for print, and whether it tells what the rows hold."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml.config import TrainConfig
from tests import factories
from tests.answers import make_answered
from tests.factories import Auth
from tests.webapp.test_comparison_pages import plain
from webapp.models import Dataset, ModelVersion, db
from webapp.registry import annex, report
from webapp.studies import members
from webapp.studies import service as studies


def tree_of(html: str) -> ElementTree.Element:
    """The page as a tree; it is written with every tag closed, so a parser of XML judges its form."""
    return ElementTree.fromstring(html.removeprefix("<!DOCTYPE html>"))  # noqa: S314


def make_reported(**values: Any) -> ModelVersion:
    version = factories.make_version(factories.make_experiment(factories.make_dataset(**values), status="succeeded"))
    factories.make_evaluation(version)
    return version


def test_the_file_is_one_well_formed_page_that_needs_nothing_else(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        make_reported()
    auth.login("viewer")
    html = client.get("/versions/1/files/card.html").text
    tags = {element.tag for element in tree_of(html).iter()}
    assert not tags & {"script", "link", "img", "iframe", "a", "object"}
    assert not re.search(r"https?:|url\(|src=|href=|@import", html)
    assert "default-src 'none'" in html.replace("&#39;", "'")
    assert html.count('<svg class="chart"') == 4
    assert "{{" not in html
    assert "Undefined" not in html


def test_the_page_leads_to_the_version_and_to_the_same_as_json(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        make_reported()
    auth.login("viewer")
    page = client.get("/versions/1/report").text
    assert [link.get("href") for link in tree_of(page).iter("a")] == ["/versions/1", "/api/v1/versions/1/report"]
    assert client.get("/api/v1/versions/1/report").json["page"] == "/versions/1/report"
    assert 'href="/api/v1/versions/1/report"' in client.get("/versions/1").text


def test_clients_and_people_get_it_as_a_file(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        make_reported()
    token = auth.token("write")
    address = client.get("/api/v1/versions/1", headers=token).json["report"]
    assert address == "/api/v1/versions/1/files/card.html"
    answer = client.get(address, headers=token)
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert answer.headers["Content-Disposition"] == "attachment; filename=version-1-card.html"
    assert client.get("/api/v1/versions/9/files/card.html", headers=token).status_code == 404
    auth.login("viewer")
    page = client.get("/versions/1").text
    assert "/versions/1/report" in page
    assert "/versions/1/files/card.html" in page


def test_names_stay_text(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        make_reported(name="<b>Discs</b>", classes=("<script>", "a & b"))
    auth.login("viewer")
    html = client.get("/versions/1/report").text
    assert "<script" not in html
    assert "<b>" not in html
    heads = [element.text for element in tree_of(html).iter("th")]
    assert "<script>" in heads
    assert "a & b" in heads


@pytest.mark.parametrize("classes", [("benign", "malignant"), ("a", "b", "c"), tuple("abcdefghijklmnopqrstuvw")])
def test_any_number_of_classes_makes_a_page(
    app: Flask, client: FlaskClient, auth: Auth, classes: tuple[str, ...]
) -> None:
    with app.app_context():
        count = 2 * len(classes)
        make_reported(classes=classes, train=count, validation=count, test=count)
    auth.login("viewer")
    html = client.get("/versions/1/report").text
    tree_of(html)
    assert ("Sensitivity" in html) == (len(classes) == 2)


def test_a_version_without_scores_says_so(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_version()
    auth.login("viewer")
    html = client.get("/versions/1/report").text
    tree_of(html)
    assert "This version has no scores on test images." in html
    assert "Nobody has looked at the test images yet" in html


def test_the_flow_of_files_is_that_of_the_rows(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        version = make_reported()
        dataset = db.session.get_one(Dataset, version.experiment.dataset_id)
        counts = {"rejected_count": 3, "left_out_count": 5, "divided_by_chance": 7, "divided_share": 0.4375}
        dataset.report = {**dataset.report, **counts}
        db.session.commit()
    auth.login("viewer")
    text = plain(client.get("/versions/1/report").text)
    assert "24 files uploaded → 3 + 5 rejected + left out → 16 images → 0 in quarantine → 16 used" in text
    assert "a random split by image would have put 7 images (43.8 %) on both sides" in text
    assert re.search(r"test report \d+ \d+ 4 ", text)


def test_the_checklist_is_answered_from_the_rows(context: Flask) -> None:
    version = make_reported()
    version.removed_groups = ["p1"]
    version.experiment.config = {**version.experiment.config, "initial_weights": "imagenet"}
    make_answered(version, (0.2, 0.7))
    answers = {check.question: check.answer for check in report.report_of(version).checks}
    assert answers["Are all test images absent from training, pixel for pixel?"] in ("yes", "no")
    assert answers["Is the model free of groups that were removed later?"] == "no"
    assert answers["Were the test images looked at once only?"] == "no"
    assert answers["Are the test images absent from what the initial weights learned from?"] == "unknown"
    assert answers["Was the operating point chosen without test images?"] == "yes"
    assert answers["Was it tested on data of another origin?"] == "no"


def test_data_of_another_hash_than_the_card_names_is_no(context: Flask) -> None:
    version = make_reported()
    version.card = {**version.card, "dataset": {**version.card["dataset"], "sha256": "f" * 64}}
    found = [check for check in report.report_of(version).checks if "unchanged since" in check.question]
    assert [check.answer for check in found] == ["no"]


def test_the_annex_has_every_item_once_and_leaves_the_rest_to_a_person(context: Flask) -> None:
    made = report.report_of(make_reported())
    assert [item.number for item in made.claim] == [str(number) for number in range(1, 45)]
    assert {int(re.sub(r"\D", "", item.number)) for item in made.tripod} == set(range(1, 28))
    assert len({number for number, _, _ in annex.TRIPOD_AI}) == len(annex.TRIPOD_AI)
    open_ones = {item.number for item in made.claim if item.filled is None}
    assert {"3", "14", "16", "44"} <= open_ones
    assert not {"19", "20", "23", "26", "37"} & open_ones


def test_the_ledger_counts_every_look_until_now(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        version = make_reported()
        make_answered(version, (0.2, 0.7))
    auth.login("viewer")
    text = plain(client.get("/versions/1/report").text)
    assert "were looked at 2 times by 1 version, counting all versions" in text


def test_the_report_of_a_fold_tells_of_its_own_splits(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        dataset, config = factories.make_dataset(train=10, validation=2), TrainConfig(epochs=1)
        study = studies.create(dataset.id, "Four", "folds", 4, config, factories.find_user())
        version = factories.make_version(study.members[1])
        seen = members.manifest_for(study.members[1], dataset)
        version.card = {**version.card, "dataset": {**version.card["dataset"], "sha256": seen.content_sha256()}}
        make_answered(version, (0.2, 0.7))
    auth.login("viewer")
    text = plain(client.get("/versions/1/report").text)
    assert "fold 2 of 4" in text
    for split, images in (("fit the weights", 8), ("choose epoch and threshold", 4), ("report", 4)):
        assert re.search(rf"{split} \d+ \d+ {images} ", text)
    assert "yes Were the splits fixed before training, and unchanged since?" in text
    assert "a random split by image" not in text


def test_the_report_of_a_member_quotes_the_spread_of_its_study(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        dataset, config = factories.make_dataset(), TrainConfig(epochs=1)
        study = studies.create(dataset.id, "Two", "seeds", 2, config, factories.find_user())
        for member, answers in zip(study.members, ((0.1, 0.9, 0.8, 0.2), (0.9, 0.1, 0.8, 0.2)), strict=True):
            make_answered(factories.make_version(member), answers)
    auth.login("viewer")
    text = plain(client.get("/versions/1/report").text)
    assert "This version is one of 2 trainings of “Two”, which differ by their seed; 2 have scores." in text
    found = re.search(
        r"Accuracy ([\d.]+) % ([\d.]+) % ([\d.]+) to ([\d.]+) % ([\d.]+) %", text.split("Over the study")[1]
    )
    assert found
    own, mean, low, high, deviation = map(float, found.groups())
    assert low < mean < high
    assert own != mean
    assert deviation == pytest.approx(2**0.5 * abs(own - mean), abs=0.1)  # of two values
    assert "Over 2 trainings: section 6." in text


def test_scores_that_the_images_do_not_define_are_named_instead_of_left_out(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        make_reported(test=1)
    auth.login("viewer")
    page = client.get("/versions/1?prevalence=0.1").text
    for html in (page, client.get("/versions/1/report").text):
        text = plain(html)
        assert "No image here is of malignant: means go over the other classes." in text
        assert "Not defined by these images and answers: ROC AUC, sensitivity, positive predictive value" in text
    assert "Predictive values at the prevalence" not in page
