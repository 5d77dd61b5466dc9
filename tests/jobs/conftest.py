"""Real worker and janitor processes on the test's own database, Redis and store."""

import contextlib
from collections.abc import Iterator

import pytest
from flask import Flask

from tests import factories, servers
from tests.jobs.processes import Processes
from webapp.models import Dataset, User
from webapp.settings import Settings


@pytest.fixture
def processes(context: Flask, settings: Settings) -> Iterator[Processes]:
    with contextlib.closing(Processes(settings)) as running:
        yield running


@pytest.fixture
def researcher(context: Flask) -> User:
    return factories.make_user("researcher")


@pytest.fixture
def dataset(researcher: User) -> Dataset:
    """Forty small images, ready without a worker having read them."""
    return factories.make_dataset(user=researcher, train=28, validation=6, test=6, source_name="drawn")


@pytest.fixture
def valkey() -> Iterator[servers.Valkey]:
    """A server of the test's own, that may be stopped and started."""
    with servers.lasting_valkey() as server:
        yield server


@pytest.fixture
def settings(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Settings]:
    """A lost worker is missed after seconds, not after half a minute; the parameter may name another database."""
    quick = settings.model_copy(update={"heartbeat_timeout_s": 4.0})
    if getattr(request, "param", "sqlite") == "sqlite":
        yield quick
        return
    server: servers.Postgres = request.getfixturevalue("postgres")
    name = server.create(template=request.getfixturevalue("_postgres_template"))
    yield quick.model_copy(update={"database_url": server.url(name)})
    server.drop(name)
