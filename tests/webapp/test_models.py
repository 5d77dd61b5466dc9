"""The rows refuse nonsense by themselves, on both kinds of database."""

import datetime
import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import NullPool

from tests.factories import make_dataset, make_experiment, make_user
from webapp.models import (
    Activation,
    ApiToken,
    Base,
    Dataset,
    Epoch,
    Evaluation,
    Experiment,
    ModelVersion,
    User,
    db,
    move,
    now,
    take_turns,
)

NONSENSE: dict[str, Callable[[], Base]] = {
    "a role that does not exist": lambda: User(email="a@b", password_hash="x", role="root"),
    "an address in capitals": lambda: User(email="A@b", password_hash="x"),
    "an address twice": lambda: User(email=make_user().email, password_hash="x"),
    "a scope that does not exist": lambda: ApiToken(
        user=make_user(), name="t", scope="all", hint="bip_", sha256="0" * 64
    ),
    "a token of nobody": lambda: ApiToken(user_id=99, name="t", scope="write", hint="bip_", sha256="0" * 64),
    "a data set from nowhere": lambda: Dataset(name="x"),
    "a data set from two places": lambda: Dataset(name="x", archive_part_sha256s=["0" * 64], source_name="synthetic"),
    "a ready data set without images": lambda: Dataset(name="x", source_name="synthetic", status="ready"),
    "a state that does not exist": lambda: Dataset(name="x", source_name="synthetic", status="done"),
    "an experiment without data": lambda: Experiment(name="x", dataset_id=99, config={}),
    "an experiment in no state": lambda: Experiment(name="x", dataset=make_dataset(), config={}, status="paused"),
    "an epoch twice": lambda: _epoch(_epoch(make_experiment().id, is_saved=True).experiment_id),
    "a second version of an experiment": lambda: _version(_version(make_experiment().id, is_saved=True).experiment_id),
    "an evaluation of no split": lambda: Evaluation(
        version=_version(make_experiment().id), dataset=make_dataset(), split="holdout"
    ),
    "an activation without reason": lambda: Activation(version=_version(make_experiment().id), user=make_user()),
}


def _epoch(experiment_id: int, is_saved: bool = False) -> Epoch:
    scores = dict.fromkeys(
        (
            "train_loss",
            "train_accuracy",
            "validation_loss",
            "validation_accuracy",
            "learning_rate",
            "seconds",
            "images_per_s",
        ),
        0.5,
    )
    return _maybe_saved(Epoch(experiment_id=experiment_id, number=1, attempt=1, **scores), is_saved)


def _version(experiment_id: int, is_saved: bool = False) -> ModelVersion:
    version = ModelVersion(experiment_id=experiment_id, name="v", network="cnn", classes=["a", "b"], files={}, card={})
    return _maybe_saved(version, is_saved)


def _maybe_saved(row: Any, is_saved: bool) -> Any:
    if is_saved:
        db.session.add(row)
        db.session.commit()
    return row


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_a_row_that_makes_no_sense_is_refused(any_context: Flask, nonsense: str) -> None:
    row = NONSENSE[nonsense]()
    db.session.add(row)
    with pytest.raises(IntegrityError):
        db.session.commit()
    db.session.rollback()


def test_a_user_who_did_something_cannot_be_deleted(any_context: Flask) -> None:
    user = make_user()
    make_dataset(user=user)
    db.session.delete(user)
    with pytest.raises(IntegrityError):
        db.session.commit()
    db.session.rollback()


def test_a_moment_comes_back_in_utc_whatever_zone_it_was_written_in(any_context: Flask) -> None:
    tokyo = datetime.timezone(datetime.timedelta(hours=9))
    user = make_user(last_login_at=datetime.datetime(2026, 3, 1, 8, 30, 0, 123456, tzinfo=tokyo))
    db.session.expire_all()
    assert user.last_login_at == datetime.datetime(2026, 2, 28, 23, 30, 0, 123456, tzinfo=datetime.UTC)
    assert user.last_login_at.isoformat().endswith("+00:00")


def test_a_moment_in_utc_comes_back_whatever_zone_the_server_lives_in(any_context: Flask) -> None:
    if db.engine.dialect.name == "postgresql":
        db.session.execute(text("SET TIME ZONE 'Asia/Tokyo'"))
    user = make_user(last_login_at=datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC))
    db.session.expire_all()
    assert str(user.last_login_at) == "2026-03-01 00:00:00+00:00"


def test_moments_are_compared_as_moments(any_context: Flask) -> None:
    make_user(email="old@example.org", last_login_at=now() - datetime.timedelta(hours=1))
    make_user(email="new@example.org", last_login_at=now())
    recent = User.last_login_at > now() - datetime.timedelta(minutes=30)
    assert list(db.session.scalars(select(User.email).where(recent))) == ["new@example.org"]


def test_a_move_changes_the_row_only_from_an_allowed_state(any_context: Flask) -> None:
    experiment = make_experiment()
    assert not move(Experiment, experiment.id, "succeeded", ("running",))
    assert move(Experiment, experiment.id, "running", ("queued",), phase="starting")
    assert (experiment.status, experiment.phase) == ("running", "starting")
    assert not move(Experiment, 99, "running", ("queued",))


def test_of_many_moves_at_once_exactly_one_wins(any_app: Flask) -> None:
    with any_app.app_context():
        row_id = make_experiment().id
    wins: list[int] = []
    start = threading.Barrier(8)

    def claim(number: int) -> None:
        with any_app.app_context():
            start.wait()
            if move(Experiment, row_id, "running", ("queued",), attempt_token=str(number)):
                wins.append(number)
            db.session.commit()

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with any_app.app_context():
        assert [db.session.get_one(Experiment, row_id).attempt_token] == [str(number) for number in wins]


def test_transactions_that_take_turns_see_what_the_one_before_did(any_app: Flask) -> None:
    with any_app.app_context():
        user_id = make_user(session_key="0").id

    def add_one() -> None:
        with any_app.app_context():
            user = db.session.get_one(User, user_id)
            take_turns()
            db.session.refresh(user)
            user.session_key = str(int(user.session_key) + 1)
            db.session.commit()

    threads = [threading.Thread(target=add_one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with any_app.app_context():
        assert db.session.get_one(User, user_id).session_key == "8"


def test_writers_of_many_rows_at_once_wait_for_each_other(any_app: Flask) -> None:
    errors: list[Exception] = []

    def write(number: int) -> None:
        with any_app.app_context():
            try:
                for turn in range(5):
                    make_user(email=f"{number}-{turn}@example.org")
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.parametrize("ends", ["close", "rollback"])
@pytest.mark.parametrize("any_settings", ["postgresql"], indirect=True)
def test_a_connection_that_is_lost_does_not_spoil_the_end_of_a_request(any_context: Flask, ends: str) -> None:
    pid = db.session.scalar(text("SELECT pg_backend_pid()"))
    with create_engine(any_context.extensions["settings"].database_url, poolclass=NullPool).begin() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    getattr(db.session, ends)()
    assert db.session.scalar(text("SELECT 1")) == 1
