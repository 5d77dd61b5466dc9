"""What the report says of parts of the test images: subgroups, classes, doubtful labels."""

from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from tests import factories
from tests.answers import make_answered
from tests.factories import Auth
from tests.webapp.test_comparison_pages import plain
from tests.webapp.test_evidence_pack import REST, both, tables_of
from tests.webapp.test_gallery import changed_rows
from webapp.models import ModelVersion
from webapp.registry import breakdown

# The four test images, 12 to 15, are benign, malignant, benign, malignant.
SAID = (0.3, 0.9, 0.95, 0.8)


def make_described(metadata: dict[int, dict[str, str]], said: tuple[float, ...] = SAID, **values: Any) -> ModelVersion:
    """A version whose test images have these columns of metadata, by their number."""
    dataset = factories.make_dataset(**values)
    changed_rows(dataset, metadata=metadata)
    version = factories.make_version(factories.make_experiment(dataset, status="succeeded"))
    make_answered(version, said)
    return version


def columns(*names: str) -> dict[int, dict[str, str]]:
    """Metadata of two values for each of these columns."""
    return {number: dict.fromkeys(names, "A" if number < 14 else "B <left>") for number in range(12, 16)}


def test_columns_of_metadata_have_a_table_of_scores_and_fill_the_item_of_fairness(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        make_described(columns("density"))
    auth.login("viewer")
    html, pack = both(client)
    (table,) = pack["subgroups"]
    assert (table["column"], table["title"], table["is_given"]) == ("metadata:density", "density", True)
    shown = tables_of(html)["By density, with"]
    assert [row[:2] for row in shown] == [["A", "2"], ["B <left>", "2"]]
    for row, one in zip(shown, table["values"], strict=True):
        for cell, name in ((2, "accuracy"), (3, "sensitivity"), (4, "specificity")):
            assert row[cell].startswith(f"{100 * one[name]['value']:.1f} %")
    assert [one["accuracy"]["value"] for one in table["values"]] == [1.0, 0.5]
    fairness = next(item for item in pack["tripod_ai"] if item["number"] == "14")
    assert (fairness["state"], fairness["filled"]) == ("in part", "Scores by density: section 7.")
    assert "Subgroups that the data do not name: needs a person" in plain(html)


def test_without_metadata_subgroups_and_fairness_need_a_person(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        make_answered(factories.make_version(), SAID)
    auth.login("viewer")
    html, pack = both(client)
    assert pack["subgroups"] == []
    assert next(item for item in pack["tripod_ai"] if item["number"] == "14")["state"] == "needs a person"
    assert "Subgroups by age, sex, density, device, site: needs a person" in plain(html)


def test_sizes_of_groups_are_a_table_but_no_answer_to_fairness(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        dataset = factories.make_dataset()
        changed_rows(dataset, group={12: "p1", 13: "p1", 14: "p2", 15: "p3"})
        make_answered(factories.make_version(factories.make_experiment(dataset, status="succeeded")), SAID)
    auth.login("viewer")
    html, pack = both(client)
    assert [table["column"] for table in pack["subgroups"]] == ["group_size"]
    assert "By images of the same group" in plain(html)
    assert next(item for item in pack["tripod_ai"] if item["number"] == "14")["state"] == "needs a person"


def test_of_many_columns_the_first_have_a_table_and_the_others_are_named(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    names = [f"column {letter}" for letter in "abcdefgh"]
    with app.app_context():
        make_described(columns(*names))
    auth.login("viewer")
    html, pack = both(client)
    assert [table["title"] for table in pack["subgroups"]] == names[: breakdown.MOST_TABLES]
    assert "Without a table: column g, column h; they are on the page of the evaluation." in plain(html)
    assert pack["subgroups_left_out"] == names[breakdown.MOST_TABLES :]


def test_answers_that_are_not_in_the_store_are_said_to_be_missing(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        make_answered(factories.make_version(), SAID, predictions_sha256="0" * 64)
    auth.login("viewer")
    html, pack = both(client)
    assert (pack["subgroups"], pack["labels"]) == (None, None)
    assert "The answers for single images are not at hand." in plain(html)


def test_doubtful_labels_are_listed_by_the_number_of_the_image(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        make_answered(factories.make_version(), SAID)
    auth.login("viewer")
    html, pack = both(client)
    assert pack["labels"]["doubtful"] == 1
    assert tables_of(html)["1 test image"] == [["14", "benign", "5.0 %", "malignant", "95.0 %"]]
    assert pack["labels"]["first"][0]["number"] == 14
    assert "suggestions for a person, no corrections" in html


def test_right_answers_leave_no_label_in_doubt(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        make_answered(factories.make_version(), (0.1, 0.9))
    pack = client.get(REST, headers=auth.token()).json
    assert pack["labels"] == {"doubtful": 0, "first": []}
