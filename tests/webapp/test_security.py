"""Every route is closed unless it is on one short list, and opens to exactly whom its rule names."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from tests.conftest import application
from tests.factories import Auth, bearer, find_user, make_token
from webapp import security
from webapp.auth import service
from webapp.models import ROLES, SCOPES, ApiToken, User, db, now
from webapp.settings import Settings

OPEN_TO_EVERYBODY = {
    "static",
    "bootstrap.static",
    "assets.vendor",
    "auth.log_in",
    "auth.first_admin",
    "health.ready",
    "health.live",
    "api.openapi_document",
    "docs.page",
}


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The application without a limit on attempts to log in: the walks make many."""
    with application(settings.model_copy(update={"login_limit": "100000 per minute"})) as app:
        yield app


def routes(app: Flask) -> Iterator[tuple[str, str, str]]:
    """Endpoint, verb and an address of every route; where it takes the number of a row, there is none of it."""
    for rule in app.url_map.iter_rules():
        url = re.sub(r"<int:\w+>", "999", rule.rule)
        for verb in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield rule.endpoint, verb, re.sub(r"<[^>]*>", "x", url)


def is_refused_as_nobody(answer: TestResponse) -> bool:
    is_sent_to_login = answer.status_code == 302 and answer.headers["Location"].startswith("/login")
    return answer.status_code == 401 or is_sent_to_login


def test_the_list_of_what_is_open_to_everybody_is_short() -> None:
    assert security.PUBLIC == OPEN_TO_EVERYBODY


def test_every_closed_route_says_who_may(app: Flask) -> None:
    for endpoint, view in app.view_functions.items():
        assert (endpoint in security.PUBLIC) is not hasattr(view, "rule"), endpoint


def test_people_and_tokens_are_made_only_with_the_widest_scope(app: Flask) -> None:
    """A token that could make tokens or people would outlive its own revocation."""
    narrow = {name for name, view in app.view_functions.items() if hasattr(view, "rule") and view.rule.scope != "admin"}
    assert not {name for name in narrow if name.startswith(("admin.", "auth."))} - {"auth.log_out"}


def test_a_token_of_narrow_scope_cannot_make_another(app: Flask, auth: Auth) -> None:
    answer = app.test_client().post(
        "/account/tokens", data={"name": "x", "scope": "admin"}, headers=auth.token("write", "admin")
    )
    assert answer.status_code == 403


def test_nobody_gets_only_what_is_open_to_everybody(app: Flask, auth: Auth) -> None:
    auth.login("admin")  # else every visit leads to the first-run page
    for endpoint, verb, url in routes(app):
        if endpoint not in OPEN_TO_EVERYBODY:
            assert is_refused_as_nobody(app.test_client().open(url, method=verb)), (endpoint, verb)
            assert is_refused_as_nobody(app.test_client().open(url, method="OPTIONS")), (endpoint, "OPTIONS")
        else:
            assert app.test_client().open(url, method=verb).status_code != 401, endpoint


@pytest.mark.parametrize("role", ROLES)
def test_a_person_gets_what_the_role_may(app: Flask, auth: Auth, role: str) -> None:
    auth.login(role)
    cookie, token = auth.client.get_cookie("session"), auth.csrf()
    for endpoint, verb, url in routes(app):
        if endpoint in security.PUBLIC:
            continue
        client = app.test_client()  # its own: the walk logs out on its way
        client.set_cookie("session", cookie.value)
        answer = client.open(url, method=verb, headers={"X-CSRFToken": token})
        may = ROLES.index(role) >= ROLES.index(app.view_functions[endpoint].rule.role)
        check(answer, may, f"{role} {verb} {endpoint}")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("scope", SCOPES)
def test_a_token_gets_what_its_scope_and_its_owner_may(app: Flask, auth: Auth, role: str, scope: str) -> None:
    headers = auth.token(scope, role)
    for endpoint, verb, url in routes(app):
        if endpoint in security.PUBLIC:
            continue
        rule = app.view_functions[endpoint].rule
        may = ROLES.index(role) >= ROLES.index(rule.role) and SCOPES.index(scope) >= SCOPES.index(rule.scope)
        check(app.test_client().open(url, method=verb, headers=headers), may, f"{role} {scope} {verb} {endpoint}")


def check(answer: TestResponse, may: bool, what: str) -> None:
    assert (answer.status_code == 403) is not may, what
    assert not is_refused_as_nobody(answer) or "log_out" in what, what
    assert answer.status_code < 500 or answer.status_code == 503, what


def test_every_change_by_a_session_needs_the_forgery_token(app: Flask, auth: Auth) -> None:
    auth.login("admin")
    cookie = auth.client.get_cookie("session")
    for endpoint, verb, url in routes(app):
        if verb == "GET":
            continue
        for headers in ({}, {"X-CSRFToken": "made-up"}):
            client = app.test_client()
            client.set_cookie("session", cookie.value)
            answer = client.open(url, method=verb, headers=headers)
            assert (answer.status_code, "CSRF" in answer.text) == (400, True), (endpoint, verb)


def test_the_forgery_token_of_another_session_is_refused(app: Flask, auth: Auth) -> None:
    auth.login("admin")
    stranger = Auth(app.test_client()).csrf()
    assert auth.client.post("/logout", data={"csrf_token": stranger}).status_code == 400
    assert auth.client.post("/logout", data=auth.form()).status_code == 302


def unusable(auth: Auth) -> dict[str, dict[str, str]]:
    """Headers that must open nothing."""
    user, ended = find_user("admin"), find_user("admin", "gone@example.org")
    ended.is_enabled = False
    good = make_token(user)
    return {
        "wrong": bearer(good + "x"),
        "empty": bearer(""),
        "without scheme": {"Authorization": good},
        "basic": {"Authorization": f"Basic {good}"},
        "nothing": {"Authorization": ""},
        "revoked": bearer(make_token(user, revoked_at=now())),
        "of a disabled person": bearer(make_token(ended)),
        "hash": bearer(security.digest(good)),
    }


def test_an_unusable_token_opens_nothing_not_even_for_who_is_logged_in(app: Flask, auth: Auth) -> None:
    auth.login("admin")
    with app.app_context():
        headers = unusable(auth)
    for kind, header in headers.items():
        answer = auth.client.get("/api/v1/datasets", headers=header)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), kind
        assert auth.client.get("/", headers=header).status_code == 401, kind


def test_a_token_is_kept_only_as_a_hash_and_its_use_is_remembered(client: FlaskClient, auth: Auth) -> None:
    headers = auth.token()
    client.get("/api/v1/datasets", headers=headers)
    with client.application.app_context():
        token = db.session.scalars(select(ApiToken)).one()
        secret = headers["Authorization"].removeprefix("Bearer ")
        assert secret not in str({**vars(token)})
        assert (now() - token.last_used_at).total_seconds() < 60


def change(app: Flask, user_id: int, **changes: object) -> None:
    with app.app_context():
        service.change_user(db.session.get_one(User, user_id), find_user("admin"), **changes)  # type: ignore[arg-type]


def test_a_person_who_is_disabled_or_gets_another_password_is_out_at_once(app: Flask, auth: Auth) -> None:
    user_id = auth.login("researcher")
    change(app, user_id, password="another long password")
    assert is_refused_as_nobody(auth.client.get("/"))
    with app.app_context():
        db.session.get_one(User, user_id).password_hash = find_user("admin").password_hash
        db.session.commit()
    auth.login("researcher")
    change(app, user_id, is_enabled=False)
    assert is_refused_as_nobody(auth.client.get("/"))


def test_another_role_counts_from_the_next_request_on(app: Flask, auth: Auth) -> None:
    user_id = auth.login("researcher")
    assert auth.client.get("/datasets/new").status_code == 200
    change(app, user_id, role="viewer")
    assert auth.client.get("/datasets/new").status_code == 403


def test_a_session_of_before_the_login_is_not_carried_over(app: Flask, auth: Auth) -> None:
    before = auth.csrf()
    auth.login("viewer")
    assert auth.client.post("/logout", data={"csrf_token": before}).status_code == 400


@pytest.mark.parametrize(("env", "is_secure"), [("development", False), ("production", True)])
def test_the_session_cookie_is_out_of_reach(settings: Settings, env: str, is_secure: bool) -> None:
    with application(settings.model_copy(update={"env": env})) as app:
        header = app.test_client().get("/setup").headers["Set-Cookie"]
        assert "HttpOnly" in header
        assert "SameSite=Lax" in header
        assert ("Secure" in header) is is_secure


def test_every_answer_tells_the_browser_to_be_careful(app: Flask, auth: Auth) -> None:
    auth.login("admin")
    for url in ("/", "/login", "/health/live", "/api/v1/nothing", "/static/nothing.js"):
        headers = auth.client.get(url).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe-eval" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert auth.client.get("/").headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("proxies", "seen"), [(0, "127.0.0.1"), (1, "203.0.113.7")])
def test_an_address_that_a_client_claims_is_believed_only_behind_a_proxy(
    settings: Settings, proxies: int, seen: str
) -> None:
    with application(settings.model_copy(update={"trusted_proxies": proxies})) as app:
        app.add_url_rule("/whoami", "whoami", security.allow("viewer", "predict")(lambda: request.remote_addr or ""))
        headers = Auth(app.test_client()).token() | {"X-Forwarded-For": "203.0.113.7"}
        assert app.test_client().get("/whoami", headers=headers).text == seen


def test_people_can_log_in_and_try_only_so_often_while_redis_is_away(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0", "login_limit": "3 per minute"})
    with application(away) as app:
        auth = Auth(app.test_client())
        auth.login("viewer")
        stranger = Auth(app.test_client())
        form = stranger.form(email="viewer@example.org", password="a wrong password")
        statuses = [stranger.client.post("/login", data=form).status_code for _ in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
