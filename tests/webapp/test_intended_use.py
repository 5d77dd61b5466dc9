"""What a version is for: written by a person, kept with who and when, shown wherever the version is."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from tests import factories
from tests.answers import make_other_version
from tests.factories import Auth
from tests.webapp.test_comparison_pages import plain
from webapp.errors import Invalid
from webapp.models import AuditEvent, ModelVersion, db
from webapp.registry import intended_use

TEXT = "A second reader of screening mammograms.\r\n\r\nFor <radiologists> only.  "
KEPT = "A second reader of screening mammograms.\n\nFor <radiologists> only."
ADDRESS = "/api/v1/versions/1/intended-use"


def events() -> list[AuditEvent]:
    return list(db.session.scalars(select(AuditEvent).where(AuditEvent.action == "version.intended_use")))


def test_a_researcher_writes_it_on_the_page_and_everybody_reads_it(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_evaluation(factories.make_version())
    auth.login()
    assert "Nobody has written what this version is for" in client.get("/versions/1").text
    answer = client.post("/versions/1/intended-use", data=auth.form(intended_use=TEXT))
    assert answer.location == "/versions/1#use"
    auth.logout()
    auth.login("viewer")
    for address in ("/versions/1", "/versions/1/report"):
        html = client.get(address).text
        assert "For &lt;radiologists&gt; only." in html
        assert "Written by researcher@example.org" in plain(html)
    assert "/versions/1/intended-use" not in client.get("/versions/1").text
    pack = client.get("/api/v1/versions/1/report").json
    kept = pack["version"]["intended_use"]
    assert (kept["text"], kept["by"]) == (KEPT, "researcher@example.org")
    assert kept["at"]
    items = {item["number"]: item for item in pack["claim"]} | {f"T{one['number']}": one for one in pack["tripod_ai"]}
    for number in ("3", "T3b"):
        assert items[number]["state"] == "in part"
        assert "written by researcher@example.org: section 1" in items[number]["filled"]


def test_without_a_text_the_report_needs_a_person_whatever_other_versions_say(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        version = factories.make_version()
        intended_use.write(version, TEXT, factories.find_user())
        other = make_other_version(version)
        other.experiment.config = {**other.experiment.config, "initial_weights": "version:1"}
        db.session.commit()
    auth.login("viewer")
    html, pack = client.get("/versions/2/report").text, client.get("/api/v1/versions/2/report").json
    assert "What it is for, for whom, and in which hands needs a person" in plain(html)
    assert pack["version"]["intended_use"] is None
    assert next(item for item in pack["claim"] if item["number"] == "3")["state"] == "needs a person"


def test_every_text_stays_in_the_audit_trail(any_context: Flask) -> None:
    version, user = factories.make_version(), factories.find_user()
    intended_use.write(version, TEXT, user)
    written_at = version.intended_use_at
    intended_use.write(version, KEPT, factories.find_user("admin"))  # the same text: nothing was written
    assert (version.intended_use_by, version.intended_use_at) == (user, written_at)
    intended_use.write(version, "Teaching.", factories.find_user("admin"))
    intended_use.write(version, " \n ", user)
    assert [(event.details["text"], event.user_id) for event in events()] == [
        (KEPT, user.id), ("Teaching.", factories.find_user("admin").id), ("", user.id),
    ]  # fmt: skip
    assert (version.intended_use, version.intended_use_by, version.intended_use_at) == ("", None, None)


def test_blanks_and_hyphens_of_a_word_processor_become_plain_ones(context: Flask) -> None:
    version = factories.make_version()
    intended_use.write(version, "5\xa0000\u202fmammo\xadgrams,\u2009or\u3000more\xa0\n", factories.find_user())
    assert version.intended_use == "5 000 mammograms, or more"


@pytest.mark.parametrize(
    ("text", "words"), [("x" * 4001, "4001 characters; at most 4000"), ("a\x00b", "printed"), ("a\x1b[1mb", "printed")]
)
def test_a_text_too_long_or_not_printable_is_refused(context: Flask, text: str, words: str) -> None:
    version = factories.make_version()
    with pytest.raises(Invalid, match=words):
        intended_use.write(version, text, factories.find_user())
    db.session.rollback()
    assert (db.session.get_one(ModelVersion, 1).intended_use, events()) == ("", [])


def test_a_refused_text_stays_in_the_form(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_version()
    auth.login()
    answer = client.post("/versions/1/intended-use", data=auth.form(intended_use="y" * 4001))
    assert answer.status_code == 422
    assert "y" * 4001 in answer.text
    assert "at most 4000 characters" in answer.text


def test_client_systems_write_it_too(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_version()
    token = auth.token()
    answer = client.put(ADDRESS, json={"text": TEXT}, headers=token)
    assert (answer.status_code, answer.json["intended_use"]["text"]) == (200, KEPT)
    assert client.get("/api/v1/versions/1", headers=token).json["intended_use"] == answer.json["intended_use"]
    assert client.put(ADDRESS, json={"text": "z" * 4001}, headers=token).status_code == 422
    assert client.put(ADDRESS, json={"text": ""}, headers=token).json["intended_use"] is None
    assert client.put("/api/v1/versions/9/intended-use", json={"text": "x"}, headers=token).status_code == 404


def test_a_viewer_may_not_write_it(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_version()
    assert client.put(ADDRESS, json={"text": "mine"}, headers=auth.token("write", "viewer")).status_code == 403
    auth.login("viewer")
    assert client.post("/versions/1/intended-use", data=auth.form(intended_use="mine")).status_code == 403
