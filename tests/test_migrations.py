"""The migrations build exactly the schema of the models, on both kinds of database, and can be undone."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, select, text
from sqlalchemy.exc import IntegrityError

from tests import factories
from tests.conftest import ROOT, application, migrate
from webapp.models import Base, Prediction, db
from webapp.settings import Settings


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """An installation whose database is empty."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    return Settings(data_dir=tmp_path / "var", database_url=url)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    settings.data_dir.mkdir()
    engine = create_engine(settings.database)
    yield engine
    engine.dispose()


def test_the_migrations_form_one_line() -> None:
    script = ScriptDirectory.from_config(Config(toml_file=str(ROOT / "pyproject.toml")))
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1


def test_an_upgraded_database_has_the_schema_of_the_models(settings: Settings, engine: Engine) -> None:
    migrate(settings)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_an_upgraded_database_has_the_conditions_of_the_models(settings: Settings, engine: Engine) -> None:
    """Alembic does not compare check constraints."""
    migrate(settings)
    migrated = _checks(engine)
    with engine.begin() as connection:
        Base.metadata.drop_all(connection)
        Base.metadata.create_all(connection)
    assert migrated == _checks(engine)
    assert len(migrated) >= 9


def _checks(engine: Engine) -> dict[str, str]:
    inspector = inspect(engine)
    found = [check for table in Base.metadata.tables for check in inspector.get_check_constraints(table)]
    return {str(check["name"]): check["sqltext"] for check in found}


def test_a_downgrade_removes_everything_and_can_be_followed_by_an_upgrade(settings: Settings, engine: Engine) -> None:
    migrate(settings)
    config = Config(toml_file=str(ROOT / "pyproject.toml"))
    config.attributes["settings"] = settings
    command.downgrade(config, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    migrate(settings)
    assert set(Base.metadata.tables) < set(inspect(engine).get_table_names())


def test_an_upgrade_keeps_the_rows_and_twice_is_harmless(settings: Settings, engine: Engine) -> None:
    migrate(settings)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO audit_event (id, created_at, action, subject, details) "
                "VALUES (1, '2026-11-24 00:00:00', 'user.create', 'user_account:1', '{}')"
            )
        )
    migrate(settings)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT action FROM audit_event")) == "user.create"


def test_what_an_older_process_does_not_know_has_a_default(settings: Settings, engine: Engine) -> None:
    """While a release is rolled out, processes of the one before write rows without the columns that are new."""
    migrate(settings, "20261124_initial")
    inspector = inspect(engine)
    known = {table: {one["name"] for one in inspector.get_columns(table)} for table in inspector.get_table_names()}
    migrate(settings)
    inspector = inspect(engine)
    needed = [
        (table, column["name"])
        for table, names in known.items()
        for column in inspector.get_columns(table)
        if column["name"] not in names and not column["nullable"] and column["default"] is None
    ]
    assert needed == []


def test_processes_that_upgrade_at_once_all_succeed(settings: Settings, engine: Engine) -> None:
    environment = {"APP_DATA_DIR": str(settings.data_dir), "APP_DATABASE_URL": settings.database_url}
    alembic = [sys.executable, "-m", "alembic", "upgrade", "head"]
    processes = [
        subprocess.Popen(alembic, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1


def test_references_are_checked_in_a_migrated_database(settings: Settings, engine: Engine) -> None:
    migrate(settings)
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO activation (id, version_id, user_id, reason, is_rollback, created_at) "
                "VALUES (1, 99, 99, 'none', false, '2026-11-24 00:00:00')"
            )
        )


def test_answers_of_before_get_the_place_of_their_image_in_its_request(settings: Settings) -> None:
    migrate(settings)
    config = Config(toml_file=str(ROOT / "pyproject.toml"))
    config.attributes["settings"] = settings
    with application(settings) as app, app.app_context():
        version, admin = factories.make_version(), {"user": factories.find_user("admin")}
        for request, by in (("first", {}), ("second", {}), ("first", {}), ("first", admin), ("first", {})):
            factories.make_prediction(version, request_id=request, place=9, **by)
        db.session.remove()
        before = ScriptDirectory.from_config(config).get_revision("20261125_watch").down_revision
        command.downgrade(config, str(before))
        migrate(settings)
        assert db.session.scalars(select(Prediction.place).order_by(Prediction.id)).all() == [0, 0, 1, 0, 2]
