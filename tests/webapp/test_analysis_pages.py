"""Behind the scores: the images of a cell, subgroups, doubtful labels."""

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml.config import TrainConfig
from tests import factories
from tests.answers import make_answered
from tests.factories import Auth
from tests.webapp.test_comparison_pages import plain
from tests.webapp.test_gallery import changed_rows
from webapp.studies import service as studies

SCORES = "/versions/evaluations/1"
PAGES = "/versions/1/evaluations/1"
# Test images 12 to 15 are benign, malignant, benign, malignant; said is the probability of malignant.
SAID = (0.6, 0.9, 0.95, 0.2)


def answered(app: Flask, said: Any = SAID, split: str = "test", changes: Any = None, **values: Any) -> None:
    with app.app_context():
        dataset = factories.make_dataset()
        if changes:
            changed_rows(dataset, **changes)
        make_answered(
            factories.make_version(factories.make_experiment(dataset, status="succeeded")), said, split, **values
        )


def shown(html: str) -> list[int]:
    """The numbers of the images of a gallery, in their order."""
    return [int(number) for number in re.findall(r'src="/datasets/1/thumbnails/(\d+)', html)]


def test_each_cell_of_the_confusion_matrix_leads_to_its_images(app: Flask, client: FlaskClient, auth: Auth) -> None:
    answered(app)
    auth.login("viewer")
    for address in (SCORES, "/versions/1"):
        html = client.get(address).text
        links = re.findall(r'href="(/versions/1/evaluations/1/images\?truth[^"]+)"[^>]*>(\d+)<', html)
        assert len(links) == 3  # of the four cells one is empty: benign called benign
        for link, count in links:
            assert len(shown(client.get(link.replace("&amp;", "&")).text)) == int(count)


@pytest.mark.parametrize(
    ("query", "numbers"),
    [("truth=benign&predicted=malignant&sort=confidence", [14, 12]), ("truth=malignant&predicted=malignant", [13]),
     ("truth=benign&predicted=benign", []), ("sort=loss", [14, 15, 12, 13]), ("truth=malignant&sort=loss", [15, 13]),
     ("predicted=malignant&sort=number", [12, 13, 14]), ("truth=&predicted=&sort=", [14, 13, 15, 12]),
     ("start=-3", [14, 13, 15, 12]), ("start=x", [14, 13, 15, 12]), ("start=99999999999999999999", [])],
)  # fmt: skip
def test_images_come_in_the_order_that_is_asked_for(
    app: Flask, client: FlaskClient, auth: Auth, query: str, numbers: list[int]
) -> None:
    answered(app)
    auth.login("viewer")
    page = client.get(f"{PAGES}/images?{query}")
    assert page.status_code == 200
    assert shown(page.text) == numbers


def test_an_image_tells_its_probability_and_its_loss(app: Flask, client: FlaskClient, auth: Auth) -> None:
    answered(app, (0.6, 0.9, 1.0, 0.2))
    auth.login("viewer")
    html = client.get(f"{PAGES}/images?truth=benign&predicted=malignant&sort=loss").text
    assert "Truth: benign said malignant, 100.0 % loss 14.5" in plain(html)
    assert "said malignant, 60.0 % loss 0.916" in plain(html)  # -ln 0.4
    assert f'href="{PAGES}/images/14"' in html


def test_long_lists_come_in_pages(app: Flask, client: FlaskClient, auth: Auth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.registry.analysis.IMAGES_A_PAGE", 3)
    answered(app)
    auth.login("viewer")
    first = client.get(f"{PAGES}/images?sort=number").text
    assert shown(first) == [12, 13, 14]
    found = re.search(r'rel="next" href="([^"]+)"', first)
    assert found
    second = client.get(found[1].replace("&amp;", "&")).text
    assert shown(second) == [15]
    assert "4–4 of 4" in second
    assert 'rel="next"' not in second


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [("images?truth=cat", 422, "no class &#39;cat&#39;; it has benign, malignant"),
     ("images?predicted=" + "x" * 3000, 422, "no class"), ("images?sort=age", 422, "number, confidence, loss"),
     ("subgroups?by=metadata:age", 422, "no column"), ("subgroups?by=" + "%00", 422, "no column")],
)  # fmt: skip
def test_what_the_evaluation_does_not_have_is_named(
    app: Flask, client: FlaskClient, auth: Auth, address: str, status: int, words: str
) -> None:
    answered(app)
    auth.login("viewer")
    answer = client.get(f"{PAGES}/{address}")
    assert answer.status_code == status
    assert words in answer.text


@pytest.mark.parametrize("page", ["images", "subgroups", "label-errors"])
def test_an_evaluation_is_found_under_its_own_version_alone(
    app: Flask, client: FlaskClient, auth: Auth, page: str
) -> None:
    answered(app)
    auth.login("viewer")
    assert client.get(f"{PAGES}/{page}").status_code == 200
    for address in (f"/versions/2/evaluations/1/{page}", f"/versions/1/evaluations/9/{page}"):
        assert client.get(address).status_code == 404


@pytest.mark.parametrize("page", ["images", "subgroups", "label-errors"])
@pytest.mark.parametrize(
    ("values", "words"),
    [({"status": "queued"}, "no answers yet"), ({"predictions_sha256": None}, "again"),
     ({"predictions_sha256": "0" * 64}, "Evaluate version 1 on Small again")],
)  # fmt: skip
def test_an_evaluation_without_answers_says_so(
    app: Flask, client: FlaskClient, auth: Auth, page: str, values: dict[str, Any], words: str
) -> None:
    answered(app, **values)
    auth.login("viewer")
    answer = client.get(f"{PAGES}/{page}")
    assert answer.status_code == 409
    assert words in answer.text


def test_subgroups_have_scores_of_their_own(app: Flask, client: FlaskClient, auth: Auth) -> None:
    views = {12: {"view": "CC"}, 13: {"view": "CC"}, 14: {"view": "MLO <left>"}, 15: {"view": "MLO <left>"}}
    answered(app, changes={"metadata": views})
    auth.login("viewer")
    text = plain(client.get(f"{PAGES}/subgroups").text)
    assert re.search(r"CC 2 50\.0 % \(9\.5–90\.5 %\) 100\.0 %", text)
    assert re.search(r"MLO &lt;left&gt; 2 0\.0 %", text)
    assert "Sensitivity" in text
    assert "Every image counts as independent: no group (patient) has several images in one subgroup" in text
    assert plain(client.get(f"{PAGES}/subgroups?by=metadata:view").text) == text


def test_subgroups_count_patients_and_name_the_columns_that_tell_nothing(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    groups = {12: "a", 13: "a", 14: "b", 15: "c"}
    views = {number: {"view": "CC" if number < 14 else "MLO", "site": "<one>"} for number in groups}
    answered(app, changes={"metadata": views, "group": groups})
    auth.login("viewer")
    text = plain(client.get(f"{PAGES}/subgroups?by=metadata:view").text)
    assert re.search(r"CC 2 1 50\.0 %", text)
    assert re.search(r"MLO 2 – 0\.0 %", text)
    assert "whole groups were drawn anew, 1 000 times" in text
    assert "Columns that cannot tell these images apart site All images agree in it: &#39;&lt;one&gt;&#39;." in text


def test_all_images_are_told_apart_by_split_and_size_of_group(app: Flask, client: FlaskClient, auth: Auth) -> None:
    answered(app, split="all", changes={"group": dict.fromkeys((1, 2, 3), "a") | {4: "b"}})
    auth.login("viewer")
    assert re.search(
        r"validation 4 .* train|test 4 .* train 8 .* validation 4", plain(client.get(f"{PAGES}/subgroups").text)
    )
    assert re.search(r"1 1 .* 3–4 3 .* \(none\) 12", plain(client.get(f"{PAGES}/subgroups?by=group_size").text))


def test_images_that_a_fold_knows_are_told_apart_by_its_own_split(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        dataset, config = factories.make_dataset(), TrainConfig(epochs=1)
        study = studies.create(dataset.id, "Four", "folds", 4, config, factories.find_user())
        make_answered(factories.make_version(study.members[0]), SAID, "all")
    auth.login("viewer")
    text = plain(client.get(f"{PAGES}/subgroups?by=split").text)
    assert re.search(r"test 4 .* train 8 .* validation 4", text)
    assert "trained on" in client.get(f"{PAGES}/label-errors").text


def test_images_that_nothing_tells_apart_have_no_subgroups(app: Flask, client: FlaskClient, auth: Auth) -> None:
    answered(app)
    auth.login("viewer")
    assert "Nothing to tell these images apart by" in client.get(f"{PAGES}/subgroups").text


def test_doubtful_labels_are_shown_as_suggestions(app: Flask, client: FlaskClient, auth: Auth) -> None:
    answered(app, (0.3, 0.9, 0.95, 0.8))
    auth.login("viewer")
    html = client.get(f"{PAGES}/label-errors").text
    assert shown(html) == [14]
    assert "Labelled benign , 5.0 % perhaps malignant, 95.0 %" in plain(html)
    assert "It is a suggestion for a person to look at" in html
    assert "trained on" not in html
    assert f'href="{PAGES}/images/14"' in html


def test_doubts_about_images_that_were_trained_on_carry_a_warning(app: Flask, client: FlaskClient, auth: Auth) -> None:
    answered(app, (0.3, 0.9, 0.95, 0.8), split="all")
    auth.login("viewer")
    html = client.get(f"{PAGES}/label-errors").text
    assert "Some of these images were trained on" in html
    assert shown(html) == [2, 6, 10, 14]
    assert html.count(">trained on<") == 2


def test_right_answers_leave_no_label_in_doubt(app: Flask, client: FlaskClient, auth: Auth) -> None:
    answered(app, (0.1, 0.9))
    auth.login("viewer")
    assert "No label is doubtful" in client.get(f"{PAGES}/label-errors").text
