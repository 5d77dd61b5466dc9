"""Commands for the administrator: `flask --app wsgi COMMAND`."""

import click
from flask import Flask, current_app
from flask.cli import with_appcontext
from sqlalchemy import select

from webapp.auth import service
from webapp.errors import AppError
from webapp.models import ROLES, SCOPES, User, db


def init_app(app: Flask) -> None:
    app.cli.add_command(create_admin)
    app.cli.add_command(create_user)
    app.cli.add_command(create_token)


def _password() -> str:
    given: str = current_app.extensions["settings"].admin_password.get_secret_value()
    return given or str(click.prompt("Password", hide_input=True, confirmation_prompt=True))


@click.command("create-admin")
@click.argument("email")
@with_appcontext
def create_admin(email: str) -> None:
    """Create an admin; the password comes from APP_ADMIN_PASSWORD or a prompt."""
    _create(email, "admin")


@click.command("create-user")
@click.argument("email")
@click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True)
@with_appcontext
def create_user(email: str, role: str) -> None:
    """Create a person; the password comes from APP_ADMIN_PASSWORD or a prompt."""
    _create(email, role)


def _create(email: str, role: str) -> None:
    try:
        user = service.create_user(email, _password(), role, by=None)
    except AppError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Created {user.role} {user.email}.")


@click.command("create-token")
@click.argument("email")
@click.option("--name", required=True, help="What the token is for.")
@click.option("--scope", type=click.Choice(SCOPES), default="predict", show_default=True)
@click.option("--days", type=int, help="Days until it expires; without them it never does.")
@with_appcontext
def create_token(email: str, name: str, scope: str, days: int | None) -> None:
    """Create a token for the person EMAIL and print it, once, to standard output."""
    user = db.session.scalar(select(User).where(User.email == email.strip().lower()))
    if user is None:
        raise click.ClickException(
            f"There is no user {email}. Create one with `flask --app wsgi create-admin {email}`."
        )
    try:
        _, secret = service.create_token(user, name, scope, by=None, days=days)
    except AppError as error:
        raise click.ClickException(str(error)) from error
    click.echo(secret)
