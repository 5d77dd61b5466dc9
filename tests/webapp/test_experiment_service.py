"""Experiments: every change of state is one that the state allows, and of two changes at once one wins."""

import threading

import pytest
from flask import Flask
from sqlalchemy import select

from ml.config import TrainConfig
from tests.factories import find_user, make_dataset, make_experiment, make_user, make_version
from webapp import queue
from webapp.errors import Conflict, Invalid, NotFound
from webapp.experiments import service
from webapp.models import JOB_STATUSES, AuditEvent, Experiment, db, move


def test_an_experiment_waits_with_its_whole_configuration(any_context: Flask) -> None:
    dataset, user, config = make_dataset(), make_user(), TrainConfig(epochs=3)
    experiment = service.create(dataset.id, " First  try ", config, user)
    db.session.expire_all()
    assert (experiment.name, experiment.status, experiment.created_by) == ("First try", "queued", user)
    assert TrainConfig.model_validate(experiment.config) == config
    assert queue.rows(queue.TRAIN) == [experiment.id]
    assert db.session.scalars(select(AuditEvent)).one().details == {"dataset": dataset.id, "network": "cnn"}


def test_an_experiment_needs_a_ready_data_set(context: Flask) -> None:
    user = make_user()
    pending = make_dataset(status="pending")
    with pytest.raises(Conflict, match="pending"):
        service.create(pending.id, "x", TrainConfig(), user)
    with pytest.raises(NotFound):
        service.create(99, "x", TrainConfig(), user)
    with pytest.raises(Invalid):
        service.create(make_dataset().id, " ", TrainConfig(), user)
    assert db.session.scalars(select(Experiment)).all() == []


@pytest.mark.parametrize("number", ["99", "9" * 150])
def test_initial_weights_must_be_those_of_a_version_that_is_there(any_context: Flask, number: str) -> None:
    with pytest.raises(Invalid) as refusal:
        service.create(make_dataset().id, "x", TrainConfig(initial_weights=f"version:{number}"), make_user())
    assert "config.initial_weights" in refusal.value.fields


def test_initial_weights_must_be_those_of_the_same_network(context: Flask) -> None:
    user, version = make_user(), make_version()
    config = TrainConfig(initial_weights=f"version:{version.id}")
    assert service.create(version.experiment.dataset_id, "x", config, user).status == "queued"
    with pytest.raises(Invalid, match="asks for a 'resnet18'"):
        service.create(version.experiment.dataset_id, "x", config.model_copy(update={"network": "resnet18"}), user)


CANCELLED = {"queued": "cancelled", "running": "cancelling", "cancelling": "cancelling"}


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_cancelling_stops_what_has_not_ended(context: Flask, status: str) -> None:
    experiment = make_experiment(status=status)
    if status in CANCELLED:
        service.cancel(experiment, make_user())
        assert (experiment.finished_at is not None) is (status == "queued")
    else:
        with pytest.raises(Conflict, match=status):
            service.cancel(experiment, make_user())
    assert experiment.status == CANCELLED.get(status, status)


@pytest.mark.parametrize("status", JOB_STATUSES)
def test_resuming_goes_on_with_what_ended_early(context: Flask, status: str) -> None:
    experiment = make_experiment(
        status=status, failed_because="power cut", checkpoint_sha256="0" * 64, checkpoint_epoch=4, losses=3
    )
    if status in ("failed", "cancelled"):
        service.resume(experiment, make_user())
        assert (experiment.status, experiment.failed_because, experiment.losses) == ("queued", None, 0)
        assert queue.rows(queue.TRAIN) == [experiment.id]
    else:
        with pytest.raises(Conflict, match=status):
            service.resume(experiment, make_user())
        assert experiment.status == status
    assert experiment.checkpoint_epoch == 4


def test_a_worker_that_claims_and_a_person_who_cancels_at_once_agree_on_the_end(any_app: Flask) -> None:
    with any_app.app_context():
        make_user()
        numbers = [make_experiment(make_dataset() if not turn else None).id for turn in range(6)]
    claimed: dict[int, bool] = {}
    start = threading.Barrier(2)

    def claim() -> None:
        with any_app.app_context():
            for number in numbers:
                start.wait()
                claimed[number] = move(Experiment, number, "running", ("queued",))
                db.session.commit()

    def cancel() -> None:
        with any_app.app_context():
            for number in numbers:
                experiment, user = service.get(number), find_user()
                start.wait()
                service.cancel(experiment, user)

    threads = [threading.Thread(target=claim), threading.Thread(target=cancel)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with any_app.app_context():
        found = {row.id: row.status for row in db.session.scalars(select(Experiment))}
    assert found == {number: "cancelling" if claimed[number] else "cancelled" for number in numbers}


def test_the_newest_come_first(context: Flask) -> None:
    dataset = make_dataset()
    numbers = [make_experiment(dataset).id for _ in range(3)]
    assert [row.id for row in service.newest(2)] == numbers[:0:-1]
