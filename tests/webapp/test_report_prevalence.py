"""The report at a prevalence that its reader asks for."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests import factories
from tests.factories import Auth
from tests.webapp.test_comparison_pages import plain
from tests.webapp.test_evidence_pack import REST, percent, tables_of
from tests.webapp.test_report import make_reported

PAGE = "/versions/1/report"


@pytest.fixture
def reader(app: Flask, client: FlaskClient, auth: Auth) -> FlaskClient:
    """Somebody who may read the report of a version with sensitivity and specificity."""
    with app.app_context():
        make_reported()
    auth.login("viewer")
    return client


def test_a_prevalence_is_added_to_the_usual_ones_on_page_and_in_json(reader: FlaskClient) -> None:
    html, pack = reader.get(f"{PAGE}?prevalence=0.03").text, reader.get(f"{REST}?prevalence=0.03").json
    assert [one["prevalence"] for one in pack["predictive_values"]] == [0.005, 0.01, 0.03, 0.05, 0.2]
    rows = tables_of(html)["Predictive values at"]
    assert [row[0] for row in rows] == ["0.5 %", "1 %", "3 %, as asked for", "5 %", "20 %"]
    assert [row[1] for row in rows] == [percent(one["ppv"]["value"]) for one in pack["predictive_values"]]


def test_one_of_the_usual_ones_is_there_once(reader: FlaskClient) -> None:
    assert len(reader.get(f"{REST}?prevalence=0.05").json["predictive_values"]) == 4
    assert len(reader.get(f"{REST}?prevalence=").json["predictive_values"]) == 4


def test_the_one_chosen_on_the_page_goes_with_its_links(reader: FlaskClient) -> None:
    page = reader.get("/versions/1?prevalence=0,03").text
    assert f'href="{PAGE}?prevalence=0.03"' in page
    assert f'href="{REST}?prevalence=0.03"' in page
    assert f'href="{REST}?prevalence=0.03"' in reader.get(f"{PAGE}?prevalence=0,03").text
    assert reader.get(f"{REST}?prevalence=0.03").json["page"] == f"{PAGE}?prevalence=0.03"
    assert f'href="{PAGE}"' in reader.get("/versions/1?prevalence=7").text


@pytest.mark.parametrize("text", ["7", "0", "1", "-0.1", "nan", "inf", "one%20in%20ten", "%00"])
def test_what_is_no_prevalence_is_refused(reader: FlaskClient, text: str) -> None:
    page, answer = reader.get(f"{PAGE}?prevalence={text}"), reader.get(f"{REST}?prevalence={text}")
    assert (page.status_code, answer.status_code) == (422, 422)
    assert "between 0 and 1, such as 0.01 for one in 100" in plain(page.text)
    assert answer.json["errors"][0]["field"] == "prevalence"


def test_without_both_rates_there_is_nothing_to_ask_a_prevalence_for(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        factories.make_version()
    auth.login("viewer")
    for address in (PAGE, REST):
        answer = client.get(f"{address}?prevalence=0.03")
        assert answer.status_code == 409
        assert "Leave prevalence out" in answer.text
        assert client.get(address).status_code == 200


def test_the_page_hands_no_prevalence_on_to_a_report_that_would_refuse_it(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        make_reported(test=1)  # images of one class alone
    auth.login("viewer")
    page = client.get("/versions/1?prevalence=0.03").text
    assert f'href="{PAGE}"' in page
    assert f'href="{REST}"' in page
