"""What keeps one client system from taking everything: expiry, limits on requests, a bounded queue before the model."""

import contextlib
import datetime
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml.images import encode_canonical
from tests.conftest import application
from tests.factories import Auth, bearer, find_user, make_activation, make_token
from webapp.auth.service import revoke_token
from webapp.models import now
from webapp.predictions import turns
from webapp.settings import Settings

IMAGE = encode_canonical(np.full((24, 24, 3), 90, np.uint8))
PNG = {"Content-Type": "image/png"}
LIST = "/api/v1/versions"


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    strict = {"token_limit": "3 per minute", "address_limit": "20 per minute", "max_predicts_in_flight": 2}
    with application(settings.model_copy(update=strict)) as app:
        yield app


def token_that_ends(app: Flask, days: float) -> dict[str, str]:
    with app.app_context():
        return bearer(make_token(find_user(), expires_at=now() + datetime.timedelta(days=days)))


def test_an_expired_token_opens_nothing_and_is_named(app: Flask, client: FlaskClient) -> None:
    assert client.get(LIST, headers=token_that_ends(app, 1)).status_code == 200
    answer = client.get(LIST, headers=token_that_ends(app, -1))
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "'write'" in answer.json["detail"]
    assert "expired on" in answer.json["detail"]


def test_a_person_makes_a_token_that_expires_and_sees_when(client: FlaskClient, auth: Auth) -> None:
    auth.login("viewer")
    page = client.post("/account/tokens", data=auth.form(name="PACS", scope="predict", days="30")).text
    assert f"{now() + datetime.timedelta(days=30):%Y-%m-%d}" in page
    for days in ("0", "3651", "soon"):
        answer = client.post("/account/tokens", data=auth.form(name="PACS", scope="predict", days=days))
        assert (answer.status_code, "days-error" in answer.text) == (422, True)


def test_a_token_has_a_limit_of_its_own(app: Flask, client: FlaskClient, auth: Auth) -> None:
    first, second = auth.token("write"), auth.token("write")
    assert [client.get(LIST, headers=first).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = client.get(LIST, headers=first)
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert "3 per minute (APP_TOKEN_LIMIT)" in refused.json["detail"]
    assert client.get(LIST, headers=second).status_code == 200


def test_one_token_written_in_other_ways_is_still_one(client: FlaskClient, auth: Auth) -> None:
    secret = auth.token("write")["Authorization"].removeprefix("Bearer ")
    ways = [f"Bearer {secret}", f"bearer {secret}", f"BEARER  {secret}", f"Bearer   {secret} "]
    assert [client.get(LIST, headers={"Authorization": way}).status_code for way in ways] == [200, 200, 200, 429]


def test_addresses_that_lead_nowhere_are_counted_as_well(client: FlaskClient) -> None:
    statuses = [client.get(f"/health{number}").status_code for number in range(21)]
    assert statuses.count(429) == 1


def test_an_address_has_a_limit_whoever_asks_but_not_for_health(client: FlaskClient) -> None:
    statuses = [client.get(LIST).status_code for _ in range(21)]
    assert statuses == [401] * 20 + [429]
    assert client.get("/health/live").status_code == 200
    elsewhere = client.get(LIST, environ_overrides={"REMOTE_ADDR": "10.0.0.7"})
    assert elsewhere.status_code == 401


@pytest.mark.parametrize(
    ("addresses", "status"),
    [(("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"), 429), (("::ffff:10.0.0.1", "::ffff:10.0.0.2"), 401)],
)
def test_whoever_has_many_addresses_of_ipv6_has_one_limit(
    client: FlaskClient, addresses: tuple[str, str], status: int
) -> None:
    first, second = ({"REMOTE_ADDR": address} for address in addresses)
    for _ in range(20):
        client.get(LIST, environ_overrides=first)
    assert client.get(LIST, environ_overrides=second).status_code == status


def test_a_process_that_is_asked_too_much_says_so_at_once(app: Flask, client: FlaskClient, auth: Auth) -> None:
    headers = auth.token("predict") | PNG
    with app.app_context():
        make_activation()
        with contextlib.ExitStack() as others:
            others.enter_context(turns.taken())
            others.enter_context(turns.taken())
            busy = client.post("/predict", data=IMAGE, headers=headers)
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "1")
    assert "2 requests" in busy.json["detail"]
    assert client.post("/predict", data=IMAGE, headers=headers).status_code == 200


def test_a_refused_request_gives_its_place_back(app: Flask, client: FlaskClient, auth: Auth) -> None:
    headers = auth.token("predict") | {"Content-Type": "text/plain"}
    assert [client.post("/predict", data=b"x", headers=headers).status_code for _ in range(3)] == [415, 415, 415]


def test_one_thread_is_always_left_for_pages(settings: Settings) -> None:
    assert turns.places(settings.model_copy(update={"web_threads": 4})) == 3
    assert turns.places(settings.model_copy(update={"web_threads": 1})) == 1


@pytest.mark.parametrize("name", ["token_limit", "address_limit"])
def test_a_limit_that_cannot_be_counted_is_refused_at_the_start(name: str) -> None:
    with pytest.raises(ValueError, match="10 per minute"):
        Settings(**{name: "many"})


def test_without_redis_the_model_still_answers_and_limits_still_hold(settings: Settings) -> None:
    gone = {"redis_url": "unix:///nowhere/redis.sock", "token_limit": "2 per minute"}
    with application(settings.model_copy(update=gone)) as app:
        auth = Auth(app.test_client())
        headers = auth.token("predict") | PNG
        with app.app_context():
            make_activation()
        answers = [auth.client.post("/predict", data=IMAGE, headers=headers) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert int(answers[-1].headers["Retry-After"]) >= 1


def test_a_redis_that_hangs_holds_a_request_for_a_second_at_most(settings: Settings, tmp_path: Path) -> None:
    """It takes connections and never answers."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent.sock"))
        silent.listen()
        with application(settings.model_copy(update={"redis_url": f"unix://{tmp_path / 'silent.sock'}"})) as app:
            headers = Auth(app.test_client()).token("predict")
            assert app.test_client().get("/health/live").status_code == 200
            assert app.test_client().get(LIST, headers=headers).status_code == 403


def test_a_revoked_token_opens_nothing_in_any_process(settings: Settings) -> None:
    with application(settings) as first, application(settings) as second:
        headers = Auth(first.test_client()).token("write")
        assert [process.test_client().get(LIST, headers=headers).status_code for process in (first, second)] == [
            200
        ] * 2
        with first.app_context():
            revoke_token(1, find_user())
        assert [process.test_client().get(LIST, headers=headers).status_code for process in (first, second)] == [
            401
        ] * 2
