"""What every test may ask for: real servers, migrated databases, applications, and somebody who is logged in."""

import contextlib
import io
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import FileSystemBytecodeCache
from redis import Redis
from werkzeug.routing import Rule

from ml.threads import share_cores
from tests import factories, servers
from webapp import create_app, logs, security, throttle
from webapp.models import db
from webapp.settings import Settings
from webapp.storage import open_store

ROOT = Path(__file__).resolve().parent.parent
_TEMPLATES = FileSystemBytecodeCache()  # each test has an application, which would compile the templates anew
share_cores()  # before a test module imports torch


@pytest.fixture(scope="session", autouse=True)
def _same_on_every_machine() -> Iterator[None]:
    """No setting of the developer's shell reaches a test; passwords are hashed as they are, only more cheaply, and
    files are not forced to the disk: nobody pulls the plug.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("APP_") and not name.startswith("APP_TEST_")]:
            patch.delenv(name)
        patch.setattr(os, "fsync", lambda file: None)
        patch.setattr(security, "hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield


@pytest.fixture(scope="session", autouse=True)
def _routes_compiled_once() -> Iterator[None]:
    """Each test has an application. Werkzeug makes two functions of each route, a tenth of a second for all of them;
    they depend on nothing but the route's text.
    """
    made: dict[Any, Any] = {}
    compile_builder = Rule._compile_builder

    def remembered(rule: Rule, append_unknown: bool = True) -> Any:
        key = (rule.rule, rule.subdomain, rule.host, repr(rule.defaults), append_unknown)
        if key not in made:
            made[key] = compile_builder(rule, append_unknown)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "_compile_builder", remembered)
        yield


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logs.gathered.write()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.Postgres]:
    with servers.postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: servers.Postgres) -> Iterator[str]:
    """A new, empty PostgreSQL database."""
    name = postgres.create()
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture(scope="session")
def _postgres_template(postgres: servers.Postgres) -> str:
    name = postgres.create()
    migrate(Settings(database_url=postgres.url(name)))
    return name


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    migrate(Settings(data_dir=folder))
    return folder / "platform.db"


def migrate(settings: Settings, revision: str = "head") -> None:
    """Brings the database of the settings up to the revision."""
    config = Config(toml_file=str(ROOT / "pyproject.toml"))
    config.attributes["settings"] = settings
    command.upgrade(config, revision)


@pytest.fixture(scope="session")
def _redis_server() -> Iterator[str]:
    with servers.valkey() as url:
        yield url


@pytest.fixture
def redis_url(_redis_server: str) -> str:
    """A Redis with nothing in it."""
    with Redis.from_url(_redis_server) as redis:
        redis.flushall()
    return _redis_server


@pytest.fixture(scope="session")
def seaweed() -> Iterator[servers.Seaweed]:
    with servers.seaweed() as server:
        open_store(Settings(**server.settings("tests/first")), patience_s=30).keep(io.BytesIO())  # makes the bucket
        yield server


@pytest.fixture
def bucket(seaweed: servers.Seaweed) -> dict[str, str]:
    """The settings of a store in a bucket with nothing of its own in it."""
    return seaweed.settings(f"tests/{secrets.token_hex(6)}")


@pytest.fixture
def settings(tmp_path: Path, redis_url: str, _sqlite_template: Path) -> Settings:
    """An installation of its own, on SQLite."""
    settings = Settings(data_dir=tmp_path / "var", redis_url=redis_url, secret_key="s" * 32)
    settings.data_dir.mkdir()
    shutil.copy(_sqlite_template, settings.data_dir / "platform.db")
    return settings


@pytest.fixture(params=["sqlite", "postgresql"])
def any_settings(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Settings]:
    """An installation of its own, on each kind of database."""
    if request.param == "sqlite":
        yield settings
        return
    server: servers.Postgres = request.getfixturevalue("postgres")
    name = server.create(template=request.getfixturevalue("_postgres_template"))
    yield settings.model_copy(update={"database_url": server.url(name)})
    server.drop(name)


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    with application(settings) as app:
        yield app


@pytest.fixture
def any_app(any_settings: Settings) -> Iterator[Flask]:
    """The application on each kind of database."""
    with application(any_settings) as app:
        yield app


@contextlib.contextmanager
def application(settings: Settings, **options: float) -> Iterator[Flask]:
    """An application, whose connections are closed afterwards. Errors become answers, as they do for people."""
    app = create_app(settings, **options)
    app.jinja_env.bytecode_cache = _TEMPLATES
    throttle.limiter._storage_dead = False  # one limiter serves all applications of this process, also without Redis
    try:
        yield app
    finally:
        app.extensions["journal"].stop()
        with app.app_context():
            db.session.remove()
            db.engine.dispose()
        app.extensions["redis"].close()


@pytest.fixture
def context(app: Flask) -> Iterator[Flask]:
    """The application within its context: for tests that call services, not for requests."""
    with app.app_context():
        yield app


@pytest.fixture
def any_context(any_app: Flask) -> Iterator[Flask]:
    """The same on each kind of database."""
    with any_app.app_context():
        yield any_app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def auth(client: FlaskClient) -> factories.Auth:
    """Somebody who logs in with `client`, or client systems' tokens."""
    return factories.Auth(client)


@pytest.fixture
def any_auth(any_app: Flask) -> factories.Auth:
    """The same on each kind of database, with a client of its own."""
    return factories.Auth(any_app.test_client())
