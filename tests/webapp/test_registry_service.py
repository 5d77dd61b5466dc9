"""Versions: which one serves is the newest row of a history that only grows."""

import pytest
from flask import Flask
from sqlalchemy import select

from tests.factories import make_dataset, make_evaluation, make_experiment, make_user, make_version
from webapp import queue
from webapp.errors import Conflict, Invalid, NotFound
from webapp.models import Activation, AuditEvent, ModelVersion, User, db
from webapp.registry import service


@pytest.fixture
def user(any_context: Flask) -> User:
    return make_user()


def versions(count: int) -> list[ModelVersion]:
    dataset = make_dataset()
    return [make_version(make_experiment(dataset, status="succeeded")) for _ in range(count)]


def activate(user: User, *order: ModelVersion) -> None:
    for version in order:
        service.activate(version, "better", user)


def served() -> int | None:
    activation = service.active()
    return activation.version_id if activation else None


def test_the_newest_activation_is_in_force_and_the_older_ones_stay(user: User) -> None:
    assert service.active() is None
    first, second = versions(2)
    activate(user, first, second, first)
    assert served() == first.id
    assert [row.version_id for row in service.history()] == [first.id, second.id, first.id]
    assert len(db.session.scalars(select(AuditEvent).where(AuditEvent.action == "version.activate")).all()) == 3


@pytest.mark.parametrize("reason", ["", " \n ", "x" * 2001])
def test_an_activation_needs_a_reason(user: User, reason: str) -> None:
    (version,) = versions(1)
    with pytest.raises(Invalid):
        service.activate(version, reason, user)
    assert service.active() is None


def test_there_is_nothing_to_roll_back_to_at_first(user: User) -> None:
    with pytest.raises(Conflict):
        service.rollback("worse", user)
    (version,) = versions(1)
    activate(user, version, version)
    with pytest.raises(Conflict):
        service.rollback("worse", user)


def test_rolling_back_twice_goes_back_two_versions(user: User) -> None:
    first, second, third = versions(3)
    activate(user, first, second, third)
    assert service.rollback("worse", user).version is second
    assert service.rollback("worse still", user).version is first
    with pytest.raises(Conflict):
        service.rollback("worst", user)
    assert [row.is_rollback for row in service.history()] == [True, True, False, False, False]


def test_an_activation_after_a_rollback_forgets_what_was_rolled_back(user: User) -> None:
    first, second, third, fourth = versions(4)
    activate(user, first, second, third)
    service.rollback("worse", user)
    activate(user, fourth)
    assert service.rollback("worse", user).version is second
    assert service.rollback("worse", user).version is first


def test_a_version_that_served_twice_is_rolled_back_one_time_after_the_other(user: User) -> None:
    first, second = versions(2)
    activate(user, first, second, first)
    assert service.rollback("worse", user).version is second
    assert service.rollback("worse", user).version is first


def test_an_evaluation_waits_for_a_worker(user: User) -> None:
    (version,) = versions(1)
    evaluation = service.start_evaluation(version.id, make_dataset("Other").id, "all", user)
    assert (evaluation.status, evaluation.metrics) == ("queued", None)
    assert queue.rows(queue.EVALUATE) == [evaluation.id]
    assert service.evaluations(version) == [evaluation]
    assert service.get_evaluation(evaluation.id) is evaluation


def test_an_evaluation_needs_a_split_and_the_same_classes(user: User) -> None:
    (version,) = versions(1)
    with pytest.raises(Invalid, match="holdout"):
        service.start_evaluation(version.id, version.experiment.dataset_id, "holdout", user)
    other = make_dataset("Other", classes=("cat", "dog"))
    with pytest.raises(Conflict, match=r"benign, malignant.*cat, dog"):
        service.start_evaluation(version.id, other.id, "test", user)
    assert service.evaluations(version) == []


def test_what_is_not_there_is_named(user: User) -> None:
    for number in (99, 2**70):
        with pytest.raises(NotFound, match=str(number)):
            service.get(number)
        with pytest.raises(NotFound, match=str(number)):
            service.get_evaluation(number)
        with pytest.raises(NotFound, match=str(number)):
            service.start_evaluation(number, 1, "test", user)


def test_a_versions_own_score_is_the_one_on_the_test_split_of_its_data(user: User) -> None:
    (version,) = versions(1)
    assert service.test_evaluation(version) is None
    make_evaluation(version, "train")
    make_evaluation(version, status="failed", metrics=None)
    make_evaluation(version, dataset=make_dataset("Other"))
    own = make_evaluation(version)
    make_evaluation(version)
    assert service.test_evaluation(version) is own


def test_history_shows_the_newest_first_and_not_everything(user: User) -> None:
    first, second = versions(2)
    activate(user, first, second, first)
    newest = db.session.scalars(select(Activation).order_by(Activation.id.desc())).first()
    assert service.history(limit=1) == [newest]
