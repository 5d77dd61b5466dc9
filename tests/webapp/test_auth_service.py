"""People and tokens: who they are, what ends them, and what is remembered of it."""

import contextlib
import threading

import pytest
from flask import Flask
from sqlalchemy import select

from tests.factories import PASSWORD, bearer, make_user
from webapp.auth import service
from webapp.errors import Conflict, Invalid, NotFound
from webapp.models import ROLES, AuditEvent, User, db


def actions() -> list[tuple[str, str]]:
    return [(event.action, event.subject) for event in db.session.scalars(select(AuditEvent).order_by(AuditEvent.id))]


def test_an_address_is_kept_in_one_spelling(any_context: Flask) -> None:
    user = service.create_user("  Ada@Example.ORG ", PASSWORD, "admin", by=None)
    assert (user.email, user.role) == ("ada@example.org", "admin")
    assert actions() == [("user.create", f"user_account:{user.id}")]
    with pytest.raises(Conflict, match=r"already a user ada@example\.org"):
        service.create_user("ADA@example.org", PASSWORD, "viewer", by=None)


@pytest.mark.parametrize(
    ("email", "password", "role", "field"),
    [
        ("nobody", PASSWORD, "viewer", "email"),
        ("a@b c", PASSWORD, "viewer", "email"),
        ("@", PASSWORD, "viewer", "email"),
        ("a\0@b", PASSWORD, "viewer", "email"),
        ("a@b", "short", "viewer", "password"),
        ("a@b", "x" * 201, "viewer", "password"),
        ("a@b", PASSWORD, "root", "role"),
    ],
)
def test_a_person_that_makes_no_sense_is_refused(
    context: Flask, email: str, password: str, role: str, field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        service.create_user(email, password, role, by=None)
    assert list(refusal.value.fields) == [field]
    assert not service.has_users()


def test_a_password_is_not_kept(context: Flask) -> None:
    user = service.create_user("ada@example.org", PASSWORD, "viewer", by=None)
    assert PASSWORD not in user.password_hash
    assert user.password_hash.startswith("$argon2id$")


def test_who_knows_the_password_of_an_enabled_account_gets_in(context: Flask) -> None:
    user = make_user("viewer", "ada@example.org")
    assert service.authenticate(" Ada@example.org", PASSWORD) is user
    assert user.last_login_at is not None
    assert actions() == [("user.log_in", f"user_account:{user.id}")]


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("ada@example.org", "wrong password"),
        ("ada@example.org", ""),
        ("eve@example.org", PASSWORD),
        ("", ""),
        ("off@example.org", PASSWORD),
        ("ada@example.org", PASSWORD + "x" * 500),
        ("a\0da@example.org", PASSWORD),
    ],
)
def test_nobody_else_gets_in(any_context: Flask, email: str, password: str) -> None:
    make_user("viewer", "ada@example.org")
    make_user("viewer", "off@example.org", is_enabled=False)
    assert service.authenticate(email, password) is None
    assert actions() == []


@pytest.mark.parametrize("change", [{"role": "researcher"}, {"is_enabled": False}])
def test_the_last_admin_stays(context: Flask, change: dict[str, object]) -> None:
    admin = make_user("admin")
    make_user("admin", "disabled@example.org", is_enabled=False)
    with pytest.raises(Conflict, match="last admin"):
        service.change_user(admin, admin, **change)  # type: ignore[arg-type]
    make_user("admin", "second@example.org")
    service.change_user(admin, admin, **change)  # type: ignore[arg-type]


def test_two_admins_who_demote_each_other_at_once_leave_one(any_app: Flask) -> None:
    with any_app.app_context():
        ids = [make_user("admin", f"{name}@example.org").id for name in ("ada", "eve")]
    start = threading.Barrier(2)

    def demote(by_id: int, user_id: int) -> None:
        with any_app.app_context():
            by, user = service.get_user(by_id), service.get_user(user_id)
            start.wait()
            with contextlib.suppress(Conflict):
                service.change_user(user, by, role="viewer")

    threads = [threading.Thread(target=demote, args=pair) for pair in (ids, ids[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with any_app.app_context():
        assert sorted(db.session.scalars(select(User.role))) == ["admin", "viewer"]


def test_a_change_that_is_refused_changes_nothing(context: Flask) -> None:
    admin, user = make_user("admin"), make_user("viewer")
    with pytest.raises(Invalid):
        service.change_user(user, admin, role="researcher", password="short")
    db.session.commit()
    assert (user.role, actions()) == ("viewer", [])


def test_a_change_is_remembered_without_the_password(context: Flask) -> None:
    admin, user = make_user("admin"), make_user("viewer")
    service.change_user(user, admin, role="researcher", password="another long one")
    event = db.session.scalars(select(AuditEvent)).one()
    assert (event.user, event.action) == (admin, "user.change")
    assert event.details == {"role": "researcher", "password": "changed"}


def test_a_new_password_ends_the_sessions_and_a_new_role_does_not(context: Flask) -> None:
    admin, user = make_user("admin"), make_user("viewer")
    key = user.session_key
    service.change_user(user, admin, role="researcher", is_enabled=True)
    assert user.session_key == key
    service.change_user(user, admin, password="another long one")
    assert user.session_key != key
    assert service.authenticate(user.email, PASSWORD) is None
    assert service.authenticate(user.email, "another long one") is user


def test_a_token_is_shown_once_and_kept_as_a_hash(context: Flask) -> None:
    user = make_user()
    token, secret = service.create_token(user, "  the   clinic ", "predict", by=user)
    assert (token.name, token.hint) == ("the clinic", secret[:8])
    assert len(secret) > 40
    assert secret not in (token.sha256, token.hint)
    assert service.tokens_of(user) == [token]


@pytest.mark.parametrize(("name", "scope"), [("", "predict"), (" ", "predict"), ("x" * 101, "predict"), ("x", "root")])
def test_a_token_that_makes_no_sense_is_refused(context: Flask, name: str, scope: str) -> None:
    user = make_user()
    with pytest.raises(Invalid):
        service.create_token(user, name, scope, by=user)
    assert service.tokens_of(user) == []


@pytest.mark.parametrize("role", ROLES)
def test_a_token_is_ended_by_its_owner_or_an_admin(context: Flask, role: str) -> None:
    owner, other = make_user("researcher", "owner@example.org"), make_user(role, "other@example.org")
    token, secret = service.create_token(owner, "x", "write", by=owner)
    if role != "admin":
        with pytest.raises(NotFound):
            service.revoke_token(token.id, other)
        other = owner
    service.revoke_token(token.id, other)
    ended_at = token.revoked_at
    service.revoke_token(token.id, other)
    assert token.revoked_at == ended_at
    assert context.test_client().get("/api/v1/datasets", headers=bearer(secret)).status_code == 401


def test_people_that_are_not_there_are_named(any_context: Flask) -> None:
    for number in (7, 2**70):
        with pytest.raises(NotFound, match=str(number)):
            service.get_user(number)
        with pytest.raises(NotFound, match=str(number)):
            service.revoke_token(number, User(id=1, role="admin"))
