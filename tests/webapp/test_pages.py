"""What holds for every page: it is there, its links lead somewhere, and it obeys its own content security policy."""

import re
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests import factories
from tests.factories import Auth
from webapp.models import db

ADDRESS = re.compile(r'(?:href|src|action|hx-get)="(/[^"]*)"(?! hx-include)')  # one that needs a form is no link
INLINE_SCRIPT = re.compile(r'<script(?![^>]*(?: src=|type="application/json"))|<[^>]+ on[a-z]+="|href="javascript:')
PAGES = (
    "/", "/datasets/", "/datasets/new", "/experiments/", "/experiments/new", "/searches/", "/learning-rates/",
    "/versions/", "/versions/activations", "/try/", "/account",
    "/admin/users", "/admin/tokens", "/admin/queue", "/admin/audit",
)  # fmt: skip


def something_of_everything() -> None:
    """One finished chain from data to answers, and one row in each other state."""
    user = factories.find_user("researcher")
    factories.make_token(user)
    factories.make_dataset("Coming", status="pending")
    factories.make_dataset("Refused", status="rejected", rejected_because="The archive has no images.")
    trained = factories.make_experiment(user=user, status="succeeded", progress=1.0)
    factories.make_epoch(trained)
    version = factories.make_version(trained)
    factories.make_evaluation(version)
    factories.make_evaluation(version, status="running", metrics=None, confident_errors=[])
    factories.make_activation(version)
    for status in ("queued", "running", "cancelling", "failed", "cancelled"):
        factories.make_experiment(
            trained.dataset, status=status, failed_because="no luck" if status == "failed" else None
        )


def links_of(html: str) -> set[str]:
    return {urlsplit(address).path for address in ADDRESS.findall(html.replace("&amp;", "&"))}


def test_no_link_of_any_page_is_dead_and_no_page_has_inline_scripts(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        something_of_everything()
    auth.login("admin")
    seen, waiting = set(), {"/"}
    while waiting:
        path = waiting.pop()
        seen.add(path)
        with client.get(path) as answer:
            assert answer.status_code in (200, 302, 405), f"{path}: {answer.status}"  # 405: the address of a form
            if answer.mimetype == "text/html" and answer.status_code == 200:
                assert not INLINE_SCRIPT.search(answer.text), path
                waiting |= links_of(answer.text)
            waiting |= {answer.location} if answer.location else set()
        waiting -= seen
    assert set(PAGES) <= seen
    assert {"/experiments/6", "/versions/1", "/versions/evaluations/2", "/datasets/2"} <= seen


@pytest.mark.parametrize("path", PAGES)
def test_every_page_says_what_to_do_next_while_there_is_nothing(client: FlaskClient, auth: Auth, path: str) -> None:
    auth.login("admin")
    answer = client.get(path)
    assert answer.status_code == 200
    assert "Research use only." in answer.text
    assert len(re.findall("<h1", answer.text)) == 1


@pytest.mark.parametrize("path", ["/", "/datasets/", "/experiments/", "/versions/", "/try/"])
def test_a_viewer_is_offered_nothing_that_a_viewer_may_not(
    app: Flask, client: FlaskClient, auth: Auth, path: str
) -> None:
    with app.app_context():
        something_of_everything()
    auth.login("viewer")
    for link in links_of(client.get(path).text) - {"/logout"}:
        with client.get(link) as answer:
            assert answer.status_code != 403, f"{path} offers {link}"


def test_the_dashboard_shows_the_version_that_serves(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_activation(factories.make_version(), reason="it is better")
    auth.login("viewer")
    html = client.get("/").text
    assert "Version 1" in html
    assert "it is better" in html
    assert "From images to answers" not in html


def test_what_people_type_is_shown_as_text_and_never_as_html(app: Flask, client: FlaskClient, auth: Auth) -> None:
    evil = "<img src=x onerror=alert(1)>"
    with app.app_context():
        experiment = factories.make_experiment(
            factories.make_dataset(evil), name=evil, failed_because=evil, status="failed"
        )
        factories.make_activation(factories.make_version(experiment, name=evil), reason=evil)
    auth.login("admin")
    for path in (
        "/",
        "/datasets/1",
        "/experiments/1",
        "/experiments/new?clone=1",
        "/versions/1",
        "/versions/activations",
    ):
        html = client.get(path).text
        assert evil not in html, path
        assert "&lt;img src=x" in html, path


def test_an_error_is_one_page_for_people_and_needs_no_database(app: Flask, client: FlaskClient, auth: Auth) -> None:
    auth.login("viewer")
    assert "There is nothing at this address." in client.get("/nowhere").text
    with app.app_context():
        db.drop_all()
    answer = client.get("/datasets/")
    assert answer.status_code == 503
    assert "does not answer" in answer.text


def test_scripts_of_others_come_from_this_site_and_may_be_kept_for_good(client: FlaskClient, auth: Auth) -> None:
    auth.login("viewer")
    found = re.search(r'src="(/vendor/[^"]+htmx\.js)"', client.get("/").text)
    assert found
    with client.get(found[1]) as answer:
        assert answer.status_code == 200
        assert answer.cache_control.immutable
