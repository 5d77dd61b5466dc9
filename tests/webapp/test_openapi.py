"""The OpenAPI document tells of every route for client systems, and of nothing else."""

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from webapp.api import openapi
from webapp.models import MAX_ID


@pytest.fixture
def document(client: FlaskClient) -> dict:
    answer = client.get("/api/v1/openapi.json")  # as nobody
    assert answer.status_code == 200
    return answer.json


def routes(app: Flask) -> set[tuple[str, str]]:
    """Path and verb of every route for client systems."""
    return {
        (re.sub(r"<(?:int:)?(\w+)>", r"{\1}", rule.rule), verb.lower())
        for rule in app.url_map.iter_rules()
        if re.match(r"/api/v1/|/predict$|/health|/metrics$", rule.rule)
        for verb in rule.methods - {"HEAD", "OPTIONS"}
    }


def test_every_route_is_described_and_every_described_one_exists(app: Flask, document: dict) -> None:
    described = {(path, verb) for path, verbs in document["paths"].items() for verb in verbs}
    assert described == routes(app)
    assert len({one["operationId"] for verbs in document["paths"].values() for one in verbs.values()}) == len(described)


def test_every_answer_has_a_shape(app: Flask) -> None:
    """But for two, which are JSON Schemas themselves."""
    vague = {one.endpoint for one in openapi.operations(app) if one.answer[0] == dict[str, Any]}
    assert vague == {"api.config_schema", "api.openapi_document"}


def test_every_reference_leads_somewhere(document: dict) -> None:
    for reference in set(re.findall(r"'\$ref': '#/([^']+)'", str(document))):
        found = document
        for part in reference.split("/"):
            found = found[part]


def test_the_document_tells_who_may_and_what_is_open(document: dict) -> None:
    paths = document["paths"]
    assert "scope predict" in paths["/predict"]["post"]["description"]
    assert paths["/health"]["get"]["security"] == []
    assert {"401", "403", "408", "422", "429", "503"} <= paths["/predict"]["post"]["responses"].keys()


def test_limits_of_hyperparameters_are_those_of_the_form(document: dict) -> None:
    epochs = document["components"]["schemas"]["TrainConfig"]["properties"]["epochs"]
    assert (epochs["minimum"], epochs["type"]) == (1, "integer")


def test_the_page_is_readable_without_an_account_and_names_every_operation(client: FlaskClient, document: dict) -> None:
    page = client.get("/api/docs").text
    for path in document["paths"]:
        assert path in page
    assert "TrainConfig" in page
    assert 'href="#schema-Problem"' in page


def test_measurements_are_described_as_text_for_whoever_has_a_token(document: dict) -> None:
    described = document["paths"]["/metrics"]["get"]
    assert described["responses"]["200"]["content"].keys() == {"text/plain"}
    assert {"401", "403"} <= described["responses"].keys()
    assert "security" not in described  # but the one of all


def test_a_file_of_a_version_is_bytes_and_its_report_a_page(document: dict) -> None:
    answers = document["paths"]["/api/v1/versions/{version_id}/files/{name}"]["get"]["responses"]
    assert answers["200"]["content"].keys() == {"application/octet-stream", "text/html"}


def test_the_number_of_a_row_has_its_limits_in_the_document(document: dict) -> None:
    """Where the schema allows more than is accepted, a client learns it from a refusal only."""
    parameters = document["paths"]["/api/v1/datasets"]["get"]["parameters"]
    (cursor,) = (one["schema"] for one in parameters if one["name"] == "cursor")
    assert (cursor["type"], cursor["minimum"], cursor["maximum"]) == ("integer", 0, MAX_ID)
    version = document["components"]["schemas"]["BatchForm"]["properties"]["version"]["anyOf"][0]
    assert (version["type"], version["minimum"], version["maximum"]) == ("integer", 1, MAX_ID)
    assert "'ge'" not in str(document)  # a limit in the words of pydantic, which no client knows


def test_health_answers_as_described(client: FlaskClient, document: dict) -> None:
    described = document["components"]["schemas"]["Health"]["properties"]
    assert client.get("/health").json.keys() == described.keys()
