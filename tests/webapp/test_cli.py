"""The administrator's commands, as `flask --app wsgi` runs them."""

from collections.abc import Iterator

import pytest
from click.testing import Result
from flask import Flask
from pydantic import SecretStr
from sqlalchemy import func, select

from tests.conftest import application
from tests.factories import PASSWORD, bearer, make_user
from webapp.auth import service
from webapp.models import ApiToken, User, db
from webapp.settings import Settings


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The application whose environment holds a password."""
    with application(settings.model_copy(update={"admin_password": SecretStr(PASSWORD)})) as app:
        yield app


def run(app: Flask, *words: str, typed: str | None = None) -> Result:
    return app.test_cli_runner().invoke(args=words, input=typed)


def count(app: Flask, row: type[User] | type[ApiToken]) -> int:
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(row)) or 0


def test_an_admin_gets_the_password_of_the_environment(app: Flask) -> None:
    done = run(app, "create-admin", " Ada@example.org")
    assert (done.exit_code, done.output) == (0, "Created admin ada@example.org.\n")
    with app.app_context():
        user = service.authenticate("ada@example.org", PASSWORD)
        assert user is not None
        assert user.role == "admin"


def test_a_person_is_a_viewer_unless_another_role_is_named(app: Flask) -> None:
    assert "Created viewer" in run(app, "create-user", "a@example.org").output
    assert "Created researcher" in run(app, "create-user", "b@example.org", "--role", "researcher").output
    assert run(app, "create-user", "c@example.org", "--role", "root").exit_code == 2
    assert count(app, User) == 2


def test_without_a_password_in_the_environment_it_is_asked_for_twice_and_not_shown(settings: Settings) -> None:
    with application(settings) as app:
        done = run(app, "create-admin", "ada@example.org", typed=f"{PASSWORD}\n{PASSWORD}\n")
        assert done.exit_code == 0
        assert PASSWORD not in done.output
        assert run(app, "create-admin", "b@example.org", typed=f"{PASSWORD}\nother\n").exit_code == 1
        assert count(app, User) == 1


@pytest.mark.parametrize(("email", "message"), [("nobody", "not one"), ("taken@example.org", "already a user")])
def test_an_address_that_cannot_be_used_is_refused(app: Flask, email: str, message: str) -> None:
    run(app, "create-admin", "taken@example.org")
    done = run(app, "create-admin", email)
    assert done.exit_code == 1
    assert message in done.output
    assert count(app, User) == 1


def test_a_weak_password_is_refused(settings: Settings) -> None:
    with application(settings.model_copy(update={"admin_password": SecretStr("short")})) as app:
        done = run(app, "create-admin", "ada@example.org")
        assert (done.exit_code, done.output) == (1, "Error: The password must have 10 to 200 characters.\n")
        assert count(app, User) == 0


def test_a_token_is_printed_once_and_opens_what_its_scope_allows(app: Flask) -> None:
    with app.app_context():
        make_user("researcher", "ada@example.org")
    done = run(app, "create-token", "ADA@example.org", "--name", "PACS")
    assert done.exit_code == 0
    secret = done.stdout.removesuffix("\n")
    assert "\n" not in secret
    assert app.test_client().get("/metrics", headers=bearer(secret)).status_code == 200
    assert app.test_client().get("/api/v1/datasets", headers=bearer(secret)).status_code == 403
    with app.app_context():
        assert db.session.scalars(select(ApiToken)).one().name == "PACS"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nobody@example.org", "--name", "x"), "There is no user nobody@example.org."),
        (("ada@example.org", "--name", " "), "1 to 100 characters"),
        (("ada@example.org",), "Missing option '--name'"),
        (("ada@example.org", "--name", "x", "--scope", "root"), "'root' is not one of"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused(app: Flask, words: tuple[str, ...], message: str) -> None:
    with app.app_context():
        make_user("researcher", "ada@example.org")
    done = run(app, "create-token", *words)
    assert done.exit_code != 0
    assert message in done.output
    assert count(app, ApiToken) == 0
