"""Logging in, the first admin, and one's own account."""

import re
import threading
from collections import Counter

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from tests import conftest, factories
from tests.factories import PASSWORD, Auth
from webapp.models import User, db
from webapp.security import first_admin_code
from webapp.settings import Settings

NEW = {"email": "first@example.org", "password": PASSWORD, "password_again": PASSWORD}


def form_of(client: FlaskClient, path: str, **fields: str) -> dict[str, str]:
    found = factories.CSRF_FIELD.search(client.get(path).text)
    assert found
    return {"csrf_token": found[1], **fields}


def test_the_first_visit_creates_the_admin_who_is_then_logged_in(app: Flask, client: FlaskClient) -> None:
    assert client.get("/", follow_redirects=True).request.path == "/setup"
    answer = client.post("/setup", data=form_of(client, "/setup", **NEW), follow_redirects=True)
    assert answer.request.path == "/"
    assert "first admin" in answer.text
    with app.app_context():
        assert [user.role for user in db.session.scalars(select(User))] == ["admin"]


def test_the_set_up_closes_with_the_first_user(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_user("viewer")
    for answer in (client.get("/setup"), client.post("/setup", data=auth.form(**NEW))):
        assert answer.location == "/login"
    with app.app_context():
        assert db.session.scalar(select(User).where(User.email == NEW["email"])) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"password_again": "something else"}, "The two passwords differ."),
        ({"password": "short", "password_again": "short"}, "10 to 200 characters"),
        ({"email": "nobody"}, "not one"),
    ],
)
def test_a_mistake_in_the_set_up_is_told_and_makes_nobody(
    client: FlaskClient, change: dict[str, str], message: str
) -> None:
    answer = client.post("/setup", data=form_of(client, "/setup", **{**NEW, **change}))
    assert answer.status_code == 422
    assert message in answer.text
    assert client.get("/login").location == "/setup"


def test_a_site_that_strangers_can_reach_asks_for_the_code_in_its_log(settings: Settings) -> None:
    open_settings = settings.model_copy(update={"host": "0.0.0.0"})  # noqa: S104  # nothing listens
    with conftest.application(open_settings) as app:
        client = app.test_client()
        answer = client.post("/setup", data=form_of(client, "/setup", **NEW, code="wrong"))
        assert answer.status_code == 422
        assert "The code is wrong" in answer.text
        code = first_admin_code(open_settings.secret)
        assert client.post("/setup", data=form_of(client, "/setup", **NEW, code=code)).location == "/"


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("/datasets/?cursor=3", "/datasets/?cursor=3"),
        ("https://evil.example", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
def test_a_login_leads_only_to_a_page_of_this_site(
    app: Flask, client: FlaskClient, auth: Auth, target: str, place: str
) -> None:
    with app.app_context():
        factories.make_user("viewer")
    fields = auth.form(email="viewer@example.org", password=PASSWORD)
    assert client.post("/login", query_string={"next": target}, data=fields).location == place


def test_a_page_that_needs_a_login_is_where_the_login_leads(app: Flask, client: FlaskClient) -> None:
    with app.app_context():
        factories.make_user("viewer")
    assert client.get("/experiments/?cursor=9").location == "/login?next=/experiments/?cursor%3D9"


def test_a_wrong_password_says_no_more_than_that_and_is_throttled(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_user("viewer")
    for email in ("viewer@example.org", "nobody@example.org"):
        answer = client.post("/login", data=auth.form(email=email, password="wrong"))
        assert answer.status_code == 401
        assert "The e-mail address or the password is wrong" in answer.text
    for _ in range(9):
        client.post("/login", data=auth.form(email="viewer@example.org", password="wrong"))
    answer = client.post("/login", data=auth.form(email="Viewer@example.org ", password=PASSWORD))
    assert answer.status_code == 429
    assert "Retry-After" in answer.headers
    assert client.post("/login", data=auth.form(email="other@example.org", password="wrong")).status_code == 401


def post_at_once(client: FlaskClient, path: str, forms: list[dict[str, str]]) -> Counter[int]:
    """The statuses of posts that all start at the same moment, within the client's session."""
    statuses: list[int] = []
    session, start = client.get_cookie("session"), threading.Barrier(len(forms))

    def post(form: dict[str, str]) -> None:
        own = client.application.test_client()
        own.set_cookie("session", session.value)
        start.wait()
        statuses.append(own.post(path, data=form).status_code)

    threads = [threading.Thread(target=post, args=(form,)) for form in forms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Counter(statuses)


def test_guesses_that_are_made_at_once_are_counted_all(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        factories.make_user("viewer")
    form = auth.form(email="viewer@example.org", password="wrong")
    assert post_at_once(client, "/login", [form] * 40) == {401: 10, 429: 30}


def test_guesses_at_many_accounts_from_one_address_are_counted_together(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    with app.app_context():
        factories.make_user("viewer")
    forms = [auth.form(email=f"{number}@example.org", password="wrong") for number in range(35)]
    assert post_at_once(client, "/login", forms) == {401: 30, 429: 5}


def test_guesses_at_the_code_of_the_set_up_are_counted(settings: Settings) -> None:
    with conftest.application(settings.model_copy(update={"host": "0.0.0.0"})) as app:  # noqa: S104  # nothing listens
        client = app.test_client()
        form = form_of(client, "/setup", **NEW, code="wrong")
        assert post_at_once(client, "/setup", [form] * 20) == {422: 10, 429: 10}


def test_set_ups_at_once_make_one_admin(any_app: Flask) -> None:
    client = any_app.test_client()
    forms = [form_of(client, "/setup", **NEW | {"email": f"{number}@example.org"}) for number in range(4)]
    post_at_once(client, "/setup", forms)
    with any_app.app_context():
        assert [user.role for user in db.session.scalars(select(User))] == ["admin"]


def test_logging_in_often_is_no_attempt_to_break_in(client: FlaskClient, auth: Auth) -> None:
    for _ in range(35):
        auth.login("viewer")
    for _ in range(10):
        wrong = client.post("/login", data=auth.form(email="viewer@example.org", password="wrong"))
        assert wrong.status_code == 401


def test_guesses_at_the_old_password_of_a_session_are_counted(client: FlaskClient, auth: Auth) -> None:
    auth.login("viewer")
    assert post_at_once(client, "/account/password", [auth.form(current_password="wrong")] * 15) == {422: 10, 429: 5}


def test_logging_out_ends_the_session(client: FlaskClient, auth: Auth) -> None:
    auth.login("viewer")
    auth.logout()
    assert client.get("/account").status_code == 302


def test_the_secret_of_a_new_token_is_shown_once_and_works(client: FlaskClient, auth: Auth) -> None:
    auth.login("researcher")
    answer = client.post("/account/tokens", data=auth.form(name="PACS", scope="write"))
    found = re.search(r'id="token-secret">([^<]+)<', answer.text)
    assert found
    assert found[1] not in client.get("/account").text
    assert client.get("/api/v1/datasets", headers=factories.bearer(found[1])).status_code == 200
    client.post("/account/tokens/1/revoke", data=auth.form())
    assert client.get("/api/v1/datasets", headers=factories.bearer(found[1])).status_code == 401


def test_a_token_without_a_name_is_refused_at_its_field(client: FlaskClient, auth: Auth) -> None:
    auth.login("researcher")
    answer = client.post("/account/tokens", data=auth.form(name=" ", scope="write"))
    assert answer.status_code == 422
    assert 'id="f-name-error"' in answer.text


def test_nobody_revokes_the_token_of_somebody_else(app: Flask, client: FlaskClient, auth: Auth) -> None:
    with app.app_context():
        headers = factories.bearer(factories.make_token(factories.make_user("admin")))
    auth.login("researcher")
    assert client.post("/account/tokens/1/revoke", data=auth.form()).status_code == 404
    assert client.get("/api/v1/datasets", headers=headers).status_code == 200


def test_a_new_password_needs_the_old_one_and_ends_the_other_sessions(
    app: Flask, client: FlaskClient, auth: Auth
) -> None:
    auth.login("viewer")
    other = Auth(app.test_client())
    other.login("viewer")
    new = {"password": "another password", "password_again": "another password"}
    wrong = client.post("/account/password", data=auth.form(**new, current_password="wrong"))
    assert wrong.status_code == 422
    assert "The current password is wrong." in wrong.text
    right = client.post("/account/password", data=auth.form(**new, current_password=PASSWORD))
    assert right.location == "/account"
    assert client.get("/account").status_code == 200
    assert other.client.get("/account").status_code == 302
