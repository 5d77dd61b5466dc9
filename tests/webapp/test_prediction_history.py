"""The history of answers: as a page, as JSON and as CSV, through one filter."""

import csv
import datetime
import io

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests import factories
from tests.factories import Auth
from webapp.datasets import contents
from webapp.models import ApiToken, Feedback, ModelVersion, db, now
from webapp.predictions import drift, feedback

URL = "/api/v1/predictions"


def a_past(app: Flask) -> int:
    """Three answers: of a week ago, of an hour ago by a token, and of now by somebody else. The version's id."""
    with app.app_context():
        version = factories.make_version()
        factories.make_token(factories.find_user("researcher"), "predict")
        token = db.session.query(ApiToken).one()
        ago = {"week": now() - datetime.timedelta(days=7), "hour": now() - datetime.timedelta(hours=1)}
        factories.make_prediction(version, "benign", 0.6, request_id="week-ago-0", created_at=ago["week"])
        factories.make_prediction(version, request_id="hour-ago-0", token=token, created_at=ago["hour"])
        factories.make_prediction(version, request_id="just-now-0", user=factories.find_user("admin"))
        return version.id


def asked(client: FlaskClient, headers: dict[str, str], **query: object) -> list[str]:
    """The first word of each request that the filter lets through."""
    answer = client.get(URL, headers=headers, query_string=query)
    assert answer.status_code == 200, answer.text
    return [item["request_id"].partition("-")[0] for item in answer.json["items"]]


def test_each_part_of_the_filter_lets_through_what_it_names(any_app: Flask, any_auth: Auth) -> None:
    version_id, headers, client = a_past(any_app), any_auth.token("write"), any_auth.client
    day_ago = (now() - datetime.timedelta(days=1)).isoformat()
    assert asked(client, headers) == ["just", "hour", "week"]
    assert asked(client, headers, version=version_id, token=1) == ["hour"]
    assert asked(client, headers, version=version_id + 1) == []
    assert asked(client, headers, label="benign") == asked(client, headers, decision="benign") == ["week"]
    assert asked(client, headers, since=day_ago) == ["just", "hour"]
    assert asked(client, headers, until=day_ago) == ["week"]
    assert asked(client, headers, request_id="hour-ago-0") == ["hour"]
    assert asked(client, headers, user=1, truth="missing") == ["hour", "week"]
    assert asked(client, headers, truth="given") == []


def test_images_outside_the_domain_are_found_as_rows_page_and_table(any_app: Flask, any_auth: Auth) -> None:
    a_past(any_app)
    with any_app.app_context():
        row = factories.make_prediction(db.session.query(ModelVersion).one(), request_id="cat-now-0")
        row.label, row.probability, row.is_abstained = None, None, True
        db.session.commit()
    headers, client = any_auth.token("write"), any_auth.client
    assert asked(client, headers, domain="outside") == ["cat"]
    assert asked(client, headers, domain="inside") == ["just", "hour", "week"]
    assert asked(client, headers, domain="") == ["cat", "just", "hour", "week"]
    any_auth.login("viewer")
    html = client.get("/predictions/?domain=outside").text
    assert "cat-now-0" in html
    assert "just-now" not in html
    assert '<option value="outside" selected>' in html
    (only,) = csv.DictReader(io.StringIO(client.get("/predictions/export.csv?domain=outside").text, newline=""))
    assert (only["request_id"], only["label"]) == ("cat-now-0", "")


def test_what_a_version_abstained_from_is_neither_right_nor_wrong(app: Flask, auth: Auth) -> None:
    headers = auth.token("write")
    with app.app_context():
        version = factories.make_version()
        for name, is_abstained in (("decided-0", False), ("leant-to-0", True)):
            factories.make_prediction(version, "benign", request_id=name, is_abstained=is_abstained)
            feedback.give([feedback.Truth(name, 0, "benign")], factories.find_user("researcher"))
        (scores,) = feedback.live_scores()
    assert asked(auth.client, headers, truth="given") == ["leant", "decided"]
    assert asked(auth.client, headers, truth="right") == ["decided"]
    assert asked(auth.client, headers, truth="wrong") == []
    assert scores.n == 1


def test_pages_follow_time_without_gaps_also_where_rows_came_late(any_app: Flask, any_auth: Auth) -> None:
    with any_app.app_context():
        version = factories.make_version()
        for minute in (3, 1, 2, 1):
            at = now().replace(second=0, microsecond=0) - datetime.timedelta(minutes=minute)
            factories.make_prediction(version, created_at=at)
    headers, cursor, seen = any_auth.token("write"), None, []
    for _ in range(4):
        page = any_auth.client.get(URL, headers=headers, query_string={"limit": 1, "cursor": cursor}).json
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
    assert (seen, cursor) == ([4, 2, 3, 1], None)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"version": "x"}, "version"),
        ({"version": 2**31}, "version"),
        ({"since": "yesterday"}, "since"),
        ({"until": "0001-01-01T00:00:00+14:00"}, "until"),
        ({"truth": "maybe"}, "truth"),
        ({"domain": "near"}, "domain"),
        ({"label": "x" * 201}, "label"),
        ({"cursor": "999"}, "cursor"),
        ({"limit": 0}, "limit"),
    ],
)
def test_a_filter_that_cannot_be_is_named(
    client: FlaskClient, auth: Auth, query: dict[str, object], field: str
) -> None:
    answer = client.get(URL, headers=auth.token("write"), query_string=query)
    assert (answer.status_code, [fault["field"] for fault in answer.json["errors"]]) == (422, [field])


def test_an_answer_of_the_past_tells_its_image_only_by_hash_and_place(app: Flask, auth: Auth) -> None:
    with app.app_context():
        version = factories.make_activation().version
        image = contents.image_bytes(version.experiment.dataset, 0)
    headers = auth.token("write") | {"X-Request-ID": "study-7-of-today"}
    parts = [(io.BytesIO(b"no image"), "patient-name.png"), (io.BytesIO(image), "patient-name.png")]
    said = auth.client.post("/predict", data={"image": parts}, headers=headers)
    assert said.json["request_id"] == said.headers["X-Request-ID"] == "study-7-of-today"
    assert app.extensions["journal"].flush()
    (found,) = auth.client.get(URL, headers=headers).json["items"]
    assert (found["request_id"], found["image"], found["token"]["name"]) == ("study-7-of-today", 1, "write")
    assert found["probabilities"] == said.json["predictions"][1]["probabilities"]
    assert "patient-name" not in str(found)


def test_an_image_outside_the_domain_is_in_the_history_and_in_no_score(context: Flask, auth: Auth) -> None:
    version = factories.make_activation().version
    row = factories.make_prediction(version, request_id="a-cat-of-today", probabilities={})
    row.label, row.probability, row.is_abstained = None, None, True
    db.session.add(Feedback(prediction=row, user_id=row.user_id, truth="benign"))
    db.session.commit()
    auth.login("viewer")
    assert "outside the domain" in auth.client.get("/predictions/").text
    assert "a-cat-of-today" in auth.client.get("/predictions/export.csv").text
    assert feedback.live_scores() == []
    assert not any(sample.n for sample in drift.watch(version).samples.values())


def test_a_viewer_reads_the_history_and_its_pages_keep_the_filter(app: Flask, client: FlaskClient, auth: Auth) -> None:
    a_past(app)
    auth.login("viewer")
    assert client.get("/predictions/").text.count("week-ago") == 2
    html = client.get("/predictions/?decision=benign").text
    assert "week-ago" in html
    assert "just-now" not in html
    assert 'href="/predictions/export.csv?decision=benign"' in html
    assert "No answer fits" in client.get("/predictions/?truth=given").text


def test_nobody_is_led_to_the_login(app: Flask, client: FlaskClient, auth: Auth) -> None:
    auth.login()
    assert app.test_client().get("/predictions/").headers["Location"].startswith("/login")


def test_the_export_has_what_the_filter_lets_through_and_runs_nothing(any_app: Flask, any_auth: Auth) -> None:
    version_id = a_past(any_app)
    with any_app.app_context():
        version = db.session.get_one(factories.ModelVersion, version_id)
        factories.make_prediction(version, "=1+1", request_id="-cmd-0-of-now")
    any_auth.login("viewer")
    answer = any_auth.client.get("/predictions/export.csv?truth=missing&since=2000-01-02")
    assert (answer.mimetype, answer.headers["Content-Disposition"][:10]) == ("text/csv", "attachment")
    found = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [row["request_id"] for row in found] == ["'-cmd-0-of-now", "just-now-0", "hour-ago-0", "week-ago-0"]
    assert (found[0]["label"], found[2]["token"], found[3]["probability"]) == ("'=1+1", "predict", "0.6")
    assert found[3]["image_sha256"] == "a" * 64
    assert (now() - datetime.datetime.fromisoformat(found[3]["at"])).days == 7
