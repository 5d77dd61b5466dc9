"""A PostgreSQL that takes connections and answers nothing keeps nobody waiting for long."""

import contextlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from tests import servers
from tests.conftest import application, migrate
from tests.factories import Auth
from tests.sites import wait_until
from webapp import postgres as limits
from webapp import security
from webapp.settings import Settings

SOON_S = limits.PING_S + limits.CONNECT_S + 3


@pytest.fixture
def frozen(settings: Settings) -> Iterator[Flask]:
    """An application whose database takes connections, and then says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        url = f"postgresql+psycopg://x@127.0.0.1:{listener.getsockname()[1]}/db"
        with application(settings.model_copy(update={"database_url": url})) as app:
            yield app


@pytest.fixture
def server() -> Iterator[servers.Postgres]:
    """A PostgreSQL that may be stopped: no other test uses it."""
    with servers.postgres() as server:
        yield server


def asked(
    app: Flask, path: str = "/api/v1/versions", headers: dict[str, str] | None = None
) -> tuple[TestResponse, float]:
    """The answer, and how long it took."""
    began_s = time.monotonic()
    answer = app.test_client().get(path, headers=headers or {"Authorization": "Bearer bip_x"})
    return answer, time.monotonic() - began_s


def test_a_server_that_never_answered_is_an_honest_refusal(frozen: Flask) -> None:
    answer, took_s = asked(frozen)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert took_s < SOON_S
    health, took_s = asked(frozen, "/health")
    assert (health.status_code, health.json["checks"]["database"]) == (503, "down")
    assert took_s < SOON_S


def test_of_many_that_come_at_once_to_a_server_that_is_away_all_but_one_are_told_at_once(frozen: Flask) -> None:
    asked(frozen)
    with ThreadPoolExecutor(20) as pool:
        found = [*pool.map(lambda _: asked(frozen), range(20))]
    assert {answer.status_code for answer, _ in found} == {503}
    assert sum(took_s > 1.5 for _, took_s in found) <= 1


def test_a_server_that_freezes_is_an_honest_refusal_until_it_goes_on(
    settings: Settings, server: servers.Postgres
) -> None:
    kept = settings.model_copy(update={"database_url": server.url(server.create())})
    migrate(kept)
    with application(kept) as app:
        headers = Auth(app.test_client()).token("write")
        assert asked(app, headers=headers)[0].status_code == 200
        with server.frozen():
            time.sleep(security.KNOWN_S)
            answer, took_s = asked(app, headers=headers)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
            assert took_s < SOON_S
            assert asked(app, headers=headers)[1] < 1  # known by now
        wait_until(lambda: asked(app, headers=headers)[0].status_code == 200, timeout_s=15)


def test_a_statement_without_end_is_ended_by_the_server_and_the_connection_serves_on(
    postgres: servers.Postgres,
) -> None:
    url = postgres.url("postgres")
    engine = create_engine(url, connect_args=limits.connect_args(url, statement_s=0.3))
    with contextlib.closing(engine.connect()) as connection:
        with pytest.raises(OperationalError, match="statement timeout"):
            connection.execute(text("SELECT pg_sleep(20)"))
        connection.rollback()
        assert connection.scalar(text("SELECT 1")) == 1
    engine.dispose()


def test_a_statement_in_a_server_that_froze_ends_the_connection(server: servers.Postgres) -> None:
    url = server.url("postgres")
    engine = create_engine(url, poolclass=NullPool, connect_args=limits.connect_args(url, statement_s=0.3))
    with contextlib.closing(engine.connect()) as connection:
        assert connection.scalar(text("SELECT 1")) == 1
        with server.frozen(), pytest.raises(OperationalError):
            connection.execute(text("SELECT 1"))
        assert connection.invalidated
    engine.dispose()


def test_a_migration_may_take_longer_than_a_request(postgres: servers.Postgres) -> None:
    url = postgres.url("postgres")
    engine = create_engine(url, poolclass=NullPool, connect_args=limits.connect_args(url, statement_s=None))
    with contextlib.closing(engine.connect()) as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "0"
        connection.execute(text("SELECT pg_sleep(1.5)"))
    engine.dispose()


def test_what_the_url_says_stays() -> None:
    own = limits.connect_args("postgresql+psycopg://x@y/z?connect_timeout=20", statement_s=15)
    assert "connect_timeout" not in own
    assert own["tcp_user_timeout"] > 0
    assert limits.connect_args("sqlite:///x.db", statement_s=15) == {}
