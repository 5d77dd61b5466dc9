"""The report as JSON: it says what the page for print says, and nothing of it is missing."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import TypeAdapter

from tests import factories
from tests.answers import make_answered
from tests.factories import Auth
from tests.webapp.test_report import make_reported, tree_of
from webapp.api.reports import EvidencePack
from webapp.models import db

REST = "/api/v1/versions/1/report"
Table = list[list[str]]


def texts_of(row: ElementTree.Element) -> list[str]:
    return [" ".join("".join(cell.itertext()).split()) for cell in row if cell.tag in ("th", "td")]


def tables_of(html: str) -> dict[str, Table]:
    """The rows of each table's body, as texts, by the words with which its caption begins."""
    found = {}
    for table in tree_of(html).iter("table"):
        caption = table.find("caption")
        words = " ".join("".join(caption.itertext() if caption is not None else "").split())
        found[" ".join(words.split()[:3])] = [texts_of(row) for row in table.iterfind("tbody/tr")]
    return found


def both(client: FlaskClient) -> tuple[str, dict[str, Any]]:
    return client.get("/versions/1/report").text, client.get(REST).json


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"  # `split` takes the narrow space for one


@pytest.fixture
def reported(app: Flask, client: FlaskClient, auth: Auth) -> tuple[str, dict[str, Any]]:
    """Page and JSON of a version with two looks at its test images, one leak and a removed group."""
    with app.app_context():
        version = make_reported()
        make_answered(version, (0.2, 0.7))
        version.removed_groups = ["p1"]
        db.session.commit()
    auth.login("viewer")
    return both(client)


def test_page_and_json_give_every_item_of_the_annex_the_same_answer(reported: tuple[str, dict[str, Any]]) -> None:
    html, pack = reported
    tables = tables_of(html)
    for rows, items in ((tables["Checklist for Artificial"], pack["claim"]),
                        (tables["Reporting of prediction"], pack["tripod_ai"])):  # fmt: skip
        assert len(rows) == len(items)
        for (number, asked, answer), item in zip(rows, items, strict=True):
            assert (number, asked) == (item["number"], item["asked"])
            assert (item["state"] == "filled") == ("needs a person" not in answer)
            assert answer.startswith(item["filled"] or "needs a person")
            if item["state"] == "in part":
                assert answer == f"{item['filled']} {item['person']}: needs a person"


def test_page_and_json_have_one_leakage_checklist_one_flow_and_one_ledger(
    reported: tuple[str, dict[str, Any]],
) -> None:
    html, pack = reported
    tables = tables_of(html)
    checks = [[check["answer"], check["question"], check["because"]] for check in pack["leakage"]]
    assert tables["Each question is"] == checks
    assert [row[-3] for row in tables["Used images by"]] == [str(one["images"]) for one in pack["flow"]["splits"]]
    looks = [[str(look[key]) for key in ("version", "evaluation", "dataset_number", "images")] for look in
             pack["ledger"]["newest"]]  # fmt: skip
    ledger = next(rows for rows in tables.values() if rows and re.match(r"\d{4}-", rows[0][0]))
    assert [row[1:5] for row in ledger] == looks
    assert (pack["ledger"]["looks"], pack["ledger"]["versions"]) == (2, 1)


def test_page_and_json_have_the_same_scores_and_limits(reported: tuple[str, dict[str, Any]]) -> None:
    html, pack = reported
    tables, metrics = tables_of(html), pack["metrics"]
    scores = {row[0]: row[1:3] for row in tables["Value and 95"]}
    for title, name in (("Accuracy", "accuracy"), ("Sensitivity", "sensitivity"), ("Specificity", "specificity")):
        assert scores[title][0] == percent(metrics[name]["value"])
        assert scores[title][1] == f"{100 * metrics[name]['low']:.1f} to {percent(metrics[name]['high'])}"
    assert [row[1] for row in tables["Predictive values at"]] == [
        percent(one["ppv"]["value"]) for one in pack["predictive_values"]
    ]
    assert [row[1] for row in tables["Net benefit, in"]] == [f"{one['model']:.3f}" for one in pack["net_benefit"]]
    listed = [" ".join("".join(entry.itertext()).split()) for entry in tree_of(html).iter("li")]
    assert set(pack["limits"]) <= set(listed)
    assert "The test images were looked at 2 times" in " ".join(pack["limits"])


def test_only_who_may_read_the_page_may_read_the_json(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        make_reported()
    assert client.get(REST).status_code == 401
    assert client.get(REST, headers=auth.token("predict")).status_code == 403
    assert client.get("/versions/1/report", headers=auth.token("predict")).status_code == 403
    assert client.get(REST, headers=auth.token("write", "viewer")).status_code == 200
    assert client.get("/api/v1/versions/9/report", headers=auth.token()).status_code == 404


def test_a_version_without_scores_has_a_report_that_says_so(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_version()
    pack = client.get(REST, headers=auth.token()).json
    assert pack["metrics"] is None
    assert pack["evaluation"] is None
    assert pack["ledger"] == {"looks": 0, "versions": 0, "newest": []}
    assert {"number": "37", "asked": "Performance on the test set", "state": "needs a person", "filled": None,
            "person": "Performance on the test set"} in pack["claim"]  # fmt: skip


def test_the_json_is_what_its_schema_says(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        make_answered(make_reported(), (0.2, 0.7))
    wanted = client.get("/api/v1/openapi.json").json["components"]["schemas"]["EvidencePack"]
    pack = client.get(REST, headers=auth.token()).json
    assert pack.keys() == wanted["properties"].keys() == set(wanted["required"])
    TypeAdapter(EvidencePack).validate_python(pack)
