"""Workers that die, rows that wait, people who stop: the row always ends with the truth."""

import contextlib
import io
import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from flask import Flask
from rq import Worker
from sqlalchemy import delete, select

from jobs import janitor, tasks
from jobs.attempt import BEAT_INTERVAL_S, Attempt, HandedOver
from jobs.recovery import release_lost
from jobs.work import Work
from ml.errors import Superseded
from ml.progress import EpochResult
from tests import factories, servers
from tests.conftest import application, migrate
from tests.jobs.processes import Processes, queue_experiment, wait_for
from tests.sites import children_of, is_alive, wait_until
from webapp import queue
from webapp.experiments import service as experiments
from webapp.models import Dataset, Epoch, Experiment, User, db, now
from webapp.settings import Settings
from webapp.storage import open_store

ON_BOTH = pytest.mark.parametrize("settings", ["sqlite", "postgresql"], indirect=True)
LONG = 400  # epochs; far more than a test waits for
SEEN_S = 2.0  # until a cancelled run has ended
TAKEN_UP_S, STARTS_S = (
    90,
    30,
)  # until the run of a lost worker goes on; of these the child of the next one may need some


def has_epochs(count: int):
    return lambda row: (
        db.session.scalar(select(Epoch.id).where(Epoch.experiment_id == row.id, Epoch.number >= count)) is not None
    )


@ON_BOTH
def test_training_goes_on_after_its_worker_and_child_were_killed(
    processes: Processes, researcher: User, dataset: Dataset
) -> None:
    experiment = queue_experiment(researcher, dataset, epochs=30)
    worker = processes.worker()
    wait_for(experiment, has_epochs(3))
    horse = children_of(worker.pid)
    for pid in (worker.pid, *horse):
        os.kill(pid, signal.SIGKILL)
    worker.wait(10)
    assert wait_for(experiment, lambda row: True).status == "running"
    processes.janitor()
    processes.worker()
    wait_for(experiment, lambda row: row.status == "succeeded")
    assert (experiment.attempts, experiment.losses) == (2, 0)  # an epoch forgives
    epochs = [(epoch.number, epoch.attempt) for epoch in experiment.epochs]
    assert [number for number, _ in epochs] == list(range(1, 31))
    assert {attempt for _, attempt in epochs} == {1, 2}


def test_a_killed_child_gives_its_row_back_at_once(processes: Processes, researcher: User, dataset: Dataset) -> None:
    experiment = queue_experiment(researcher, dataset, epochs=LONG)
    worker = processes.worker()
    wait_for(experiment, has_epochs(1))
    os.kill(children_of(worker.pid)[0], signal.SIGKILL)
    wait_for(experiment, lambda row: row.status == "queued")
    assert experiment.losses == 1


def test_a_worker_that_is_killed_alone_takes_its_child_with_it(
    processes: Processes, researcher: User, dataset: Dataset
) -> None:
    experiment = queue_experiment(researcher, dataset, epochs=LONG)
    worker = processes.worker()
    wait_for(experiment, has_epochs(1))
    horse = children_of(worker.pid)[0]
    worker.kill()
    worker.wait(10)
    wait_until(lambda: not is_alive(horse))
    processes.janitor()
    wait_for(experiment, lambda row: row.status == "queued")
    assert experiment.losses == 1


def test_a_machine_that_is_gone_is_missed_in_time_by_the_defaults() -> None:
    """Each wait at its longest: the row falls silent, a round has just passed, and the bell has just been rung."""
    silence_s = Settings.model_fields["heartbeat_timeout_s"].default
    assert silence_s + janitor.ROUND_INTERVAL_S + janitor.RING_INTERVAL_S + STARTS_S <= TAKEN_UP_S
    assert silence_s > 10 * BEAT_INTERVAL_S  # no worker is missed that is only slow


class Run:
    """An experiment as its task sees it, at whose end of an epoch nothing is trained."""

    def __init__(self, context: Flask, user: User, dataset: Dataset, folder: Path) -> None:
        self.row = queue_experiment(user, dataset, epochs=9)
        self.context, self.folder, self.store = context, folder, context.extensions["store"]

    def begin(self) -> None:
        attempt = Attempt.claim(self.context, Experiment, self.row.id)
        assert attempt is not None
        self.work = Work(self.context, attempt, self.folder)

    def save(self, number: int) -> str:
        """The sha256 of the checkpoint of the epoch that ends."""
        db.session.refresh(self.row)
        path = self.folder / "checkpoint"
        path.write_text(f"epoch {number} of attempt {self.row.attempts}")
        tasks._keep_checkpoint(self.work, path, number)
        figures = dict.fromkeys(EpochResult.model_fields, 0.5)
        tasks._save_epoch(self.work, self.row.attempts, EpochResult(**figures | {"number": number}))
        db.session.add(self.row)
        db.session.refresh(self.row)
        return str(self.row.checkpoint_sha256)

    def hand_over(self) -> None:
        db.session.rollback()
        self.work.attempt.release()

    def epochs(self) -> list[tuple[int, int]]:
        """Number and attempt of each."""
        db.session.refresh(self.row)
        return [(epoch.number, epoch.attempt) for epoch in self.row.epochs]


@pytest.fixture
def one_run(context: Flask, researcher: User, dataset: Dataset, tmp_path: Path) -> Run:
    run = Run(context, researcher, dataset, tmp_path)
    run.begin()
    return run


def test_the_checkpoint_before_the_last_is_kept_and_older_ones_are_not(one_run: Run) -> None:
    kept = [one_run.save(number) for number in (1, 2, 3, 4)]
    there = {address for address, _ in one_run.store.addresses()}
    assert there & set(kept) == {*kept[-2:]}


@pytest.mark.parametrize("fault", ["missing", "damaged"])
def test_nothing_is_resumed_from_a_checkpoint_that_the_store_no_longer_has(one_run: Run, fault: str) -> None:
    sha256 = one_run.save(1)
    if fault == "missing":
        one_run.store.delete(sha256)
    else:
        with one_run.store.fetch(sha256) as path:
            path.write_text("epoch 5")
    with contextlib.ExitStack() as stack:
        assert tasks._checkpoint(one_run.work, stack, sha256) is None
    db.session.refresh(one_run.row)
    assert (one_run.row.status, one_run.row.checkpoint_sha256) == ("running", sha256)


def test_a_damaged_copy_of_a_checkpoint_costs_nothing(one_run: Run, bucket: dict[str, str], tmp_path: Path) -> None:
    store = one_run.work.store = open_store(Settings(data_dir=tmp_path / "machine", **bucket))
    sha256 = store.keep(io.BytesIO(b"epoch 4"))
    with store.fetch(sha256) as path:
        path.write_text("epoch 5")
    with contextlib.ExitStack() as stack:
        found = tasks._checkpoint(one_run.work, stack, sha256)
        assert found is not None
        assert found.read_text() == "epoch 4"


def test_a_run_that_began_anew_keeps_no_later_epoch_of_an_earlier_attempt(one_run: Run) -> None:
    for number in (1, 2, 3):
        one_run.save(number)
    one_run.hand_over()
    one_run.begin()
    one_run.save(1)
    assert one_run.epochs() == [(1, 2)]
    assert one_run.row.checkpoint_epoch == 1


def test_a_run_whose_last_epoch_a_crashed_database_forgot_leaves_no_gap(one_run: Run) -> None:
    first = one_run.save(1)
    one_run.save(2)
    db.session.execute(delete(Epoch).where(Epoch.number == 2))
    one_run.row.checkpoint_epoch, one_run.row.checkpoint_sha256 = 1, first
    db.session.commit()
    with pytest.raises(HandedOver):
        one_run.save(3)
    one_run.hand_over()
    assert one_run.epochs() == [(1, 1)]
    with one_run.store.fetch(first) as path:
        assert path.read_text() == "epoch 1 of attempt 1"


@pytest.mark.slow
def test_a_killed_database_costs_an_attempt_and_not_the_run(settings: Settings) -> None:
    with servers.postgres() as server:
        own = settings.model_copy(update={"database_url": server.url(server.create())})
        migrate(own)
        with application(own) as app, app.app_context(), contextlib.closing(Processes(own)) as processes:
            researcher = factories.make_user("researcher")
            dataset = factories.make_dataset(user=researcher, train=28, validation=6, test=6, source_name="drawn")
            experiment = queue_experiment(researcher, dataset, epochs=60)
            started = processes.warm_worker(), processes.janitor()
            wait_for(experiment, has_epochs(2))
            db.session.rollback()
            server.kill()
            time.sleep(5)  # longer than a row may be silent
            server.start()
            db.engine.dispose()  # of connections to a server that is gone
            wait_for(experiment, lambda row: row.status == "succeeded")
            assert [epoch.number for epoch in experiment.epochs] == list(range(1, 61))
            assert experiment.attempts == 2
            assert all(process.poll() is None for process in started)


@pytest.mark.slow
def test_a_database_that_is_away_for_a_while_costs_an_attempt_and_not_the_run(
    processes: Processes, researcher: User, dataset: Dataset, settings: Settings
) -> None:
    experiment = queue_experiment(researcher, dataset, epochs=60)
    processes.warm_worker()
    processes.janitor()
    wait_for(experiment, has_epochs(2))
    with contextlib.closing(sqlite3.connect(settings.data_dir / "platform.db", isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        time.sleep(11.5)  # longer than a writer waits
        blocker.execute("ROLLBACK")
    wait_for(experiment, lambda row: row.status == "succeeded")
    assert [epoch.number for epoch in experiment.epochs] == list(range(1, 61))


@pytest.mark.slow
def test_a_queue_that_is_away_for_a_while_costs_a_running_experiment_nothing(
    context: Flask, settings: Settings, valkey: servers.Valkey, researcher: User, dataset: Dataset
) -> None:
    context.extensions["redis"] = queue.connect(valkey.url)
    with contextlib.closing(Processes(settings.model_copy(update={"redis_url": valkey.url}))) as processes:
        experiment = queue_experiment(researcher, dataset, epochs=LONG)
        worker = processes.warm_worker()
        wait_for(experiment, has_epochs(1))
        valkey.stop()
        time.sleep(7)  # RQ's worker looks after its child every five seconds
        valkey.start()
        time.sleep(3)
        db.session.refresh(experiment)
        assert (experiment.status, experiment.attempts, experiment.losses) == ("running", 1, 0)
        experiments.cancel(experiment, researcher)
        wait_for(experiment, lambda row: row.status == "cancelled")
        other = queue_experiment(researcher, dataset, epochs=1)
        wait_for(other, lambda row: row.status == "succeeded")
        assert worker.poll() is None


def test_an_experiment_that_loses_every_worker_fails_and_says_so(
    processes: Processes, researcher: User, dataset: Dataset, context: Flask
) -> None:
    experiment = queue_experiment(researcher, dataset, epochs=LONG)
    limit = context.extensions["settings"].max_attempts
    for number in range(1, limit + 1):
        attempt = Attempt.claim(context, Experiment, experiment.id)
        assert attempt is not None
        release_lost(Experiment, experiment.id, attempt.token, limit)
        db.session.refresh(experiment)
        assert experiment.status == ("failed" if number == limit else "queued")
    assert f"lost {limit} times in a row" in experiment.failed_because


def seconds_to_cancel(experiment: Experiment, user: User) -> float:
    """From the request to the end that the row names."""
    asked_at = now()
    experiments.cancel(experiment, user)
    ended: Experiment = wait_for(experiment, lambda row: row.status == "cancelled")
    assert ended.finished_at is not None
    return (ended.finished_at - asked_at).total_seconds()


def test_cancel_stops_a_running_experiment_and_keeps_its_checkpoint(
    processes: Processes, researcher: User, dataset: Dataset
) -> None:
    experiment = queue_experiment(researcher, dataset, epochs=LONG)
    processes.worker()
    wait_for(experiment, has_epochs(2))
    assert seconds_to_cancel(experiment, researcher) < SEEN_S
    assert experiment.checkpoint_sha256
    assert experiment.checkpoint_epoch >= 2


def test_cancel_does_not_wait_for_the_end_of_a_long_step(
    processes: Processes, researcher: User, dataset: Dataset
) -> None:
    slow = {"network": "resnet18", "image_size_px": 512, "batch_size": 28}  # one step: tens of seconds
    experiment = queue_experiment(researcher, dataset, epochs=1, **slow)
    worker = processes.warm_worker()
    wait_for(experiment, lambda row: row.phase.endswith("%"))
    horse = children_of(worker.pid)[0]
    time.sleep(3)  # the images are decoded; the step is on its way
    assert seconds_to_cancel(experiment, researcher) < SEEN_S
    wait_until(lambda: not is_alive(horse))
    other = queue_experiment(researcher, dataset, epochs=1)
    wait_for(other, lambda row: row.status == "succeeded")


def pid_of_owner(experiment: Experiment) -> int | None:
    """Of the worker whose child trains it; another child may just be finding that nothing is left to claim."""
    owners = Worker.all(connection=queue.connection())
    return next((one.pid for one in owners if one.get_current_job_id() == experiment.attempt_token), None)


@pytest.mark.slow
def test_ten_kills_at_random_moments_leave_the_bits_of_a_run_that_nobody_touched(
    processes: Processes, researcher: User, dataset: Dataset
) -> None:
    workers, _ = [processes.warm_worker(), processes.warm_worker()], processes.janitor()
    same = {"epochs": 30, "dropout": 0.3, "schedule": "one_cycle"}
    untouched = queue_experiment(researcher, dataset, **same)
    wait_for(untouched, lambda row: row.status == "succeeded")
    killed, moments = queue_experiment(researcher, dataset, **same), random.Random(0)
    for number in range(10):  # every other one comes before the attempt has done an epoch, most likely
        wait_for(killed, lambda row, least=number // 2 * 5: (row.checkpoint_epoch or 0) >= least)
        wait_for(killed, lambda row: row.status == "running" and row.attempt_token)
        time.sleep(moments.uniform(0, 0.3))
        worker = next(one for one in workers if one.pid == pid_of_owner(killed))
        doomed = [*children_of(worker.pid), *([worker.pid] if number in (3, 6) else [])]
        for pid in doomed:
            os.kill(pid, signal.SIGKILL)
        if worker.pid in doomed:
            worker.wait(10)
            workers.remove(worker)
            workers.append(processes.warm_worker())
        wait_for(killed, lambda row, gone=number + 1: row.attempts > gone or row.status == "queued")
    wait_for(killed, lambda row: row.status == "succeeded")
    assert killed.attempts == 11
    assert [epoch.number for epoch in killed.epochs] == list(range(1, 31))
    assert len({epoch.attempt for epoch in killed.epochs}) >= 4
    assert killed.version.files["state_dict.safetensors"] == untouched.version.files["state_dict.safetensors"]
    assert [epoch.train_loss for epoch in killed.epochs] == [epoch.train_loss for epoch in untouched.epochs]


@pytest.mark.slow
def test_a_run_that_a_worker_with_fewer_threads_takes_up_ends_with_the_same_bits(
    processes: Processes, researcher: User, dataset: Dataset
) -> None:
    same = {"epochs": 12, "image_size_px": 64, "batch_size": 16}
    worker, _ = processes.warm_worker(OMP_NUM_THREADS="2"), processes.janitor()
    untouched = queue_experiment(researcher, dataset, **same)
    wait_for(untouched, lambda row: row.status == "succeeded")
    handed_over = queue_experiment(researcher, dataset, **same)
    wait_for(handed_over, has_epochs(2))
    worker.terminate()
    wait_for(handed_over, lambda row: row.status == "queued")
    processes.warm_worker(OMP_NUM_THREADS="1")
    wait_for(handed_over, lambda row: row.status == "succeeded")
    assert len({epoch.attempt for epoch in handed_over.epochs}) == 2
    assert handed_over.device.endswith("2 threads")
    assert handed_over.version.files["state_dict.safetensors"] == untouched.version.files["state_dict.safetensors"]


@pytest.mark.slow
@pytest.mark.parametrize("is_lost", [False, True])
def test_a_cancelled_experiment_can_be_resumed_to_its_end_even_without_its_checkpoint(
    processes: Processes, researcher: User, dataset: Dataset, context: Flask, is_lost: bool
) -> None:
    experiment = queue_experiment(researcher, dataset, epochs=40)
    processes.warm_worker()
    wait_for(experiment, has_epochs(2))
    experiments.cancel(experiment, researcher)
    wait_for(experiment, lambda row: row.status == "cancelled")
    if is_lost:
        context.extensions["store"].delete(experiment.checkpoint_sha256)
    experiments.resume(experiment, researcher)
    wait_for(experiment, lambda row: row.status == "succeeded")
    assert [epoch.number for epoch in experiment.epochs] == list(range(1, 41))
    assert experiment.attempts == 2
    assert experiment.epochs[0].attempt == (2 if is_lost else 1)


def test_cancelled_in_the_queue_means_never_started(processes: Processes, researcher: User, dataset: Dataset) -> None:
    waiting = queue_experiment(researcher, dataset, epochs=1)
    experiments.cancel(waiting, researcher)
    after = queue_experiment(researcher, dataset, epochs=1)
    processes.worker()
    wait_for(after, lambda row: row.status == "succeeded")
    db.session.refresh(waiting)
    assert (waiting.status, waiting.attempts) == ("cancelled", 0)


def test_a_worker_asked_to_stop_hands_its_row_over(processes: Processes, researcher: User, dataset: Dataset) -> None:
    experiment = queue_experiment(researcher, dataset, epochs=LONG)
    worker = processes.worker()
    wait_for(experiment, has_epochs(1))
    worker.terminate()
    assert worker.wait(60) == 0
    wait_for(experiment, lambda row: row.status == "queued")
    assert (experiment.attempt_token, experiment.losses) == (None, 0)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two processes need two cores")
def test_a_run_on_two_devices_is_handed_over_and_leaves_no_process(
    processes: Processes, researcher: User, dataset: Dataset
) -> None:
    experiment = queue_experiment(researcher, dataset, epochs=LONG, devices=2, device="cpu")
    worker = processes.worker()
    wait_for(experiment, has_epochs(1), timeout_s=200)
    (peer,) = children_of(children_of(worker.pid)[0])
    worker.terminate()
    worker.wait(60)
    assert wait_for(experiment, lambda row: row.status == "queued").losses == 0
    assert not is_alive(peer)


def test_the_janitor_rings_for_rows_that_redis_forgot(processes: Processes, researcher: User, dataset: Dataset) -> None:
    experiment = queue_experiment(researcher, dataset, epochs=1)
    queue.connection().flushall()
    processes.worker()
    processes.janitor()
    wait_for(experiment, lambda row: row.status == "succeeded")


@ON_BOTH
def test_of_two_claims_one_wins(context: Flask, researcher: User, dataset: Dataset) -> None:
    experiment = queue_experiment(researcher, dataset, epochs=1)
    claims = [Attempt.claim(context, Experiment, experiment.id) for _ in range(2)]
    assert [claim is not None for claim in claims] == [True, False]


@ON_BOTH
def test_a_zombie_cannot_write(context: Flask, researcher: User, dataset: Dataset) -> None:
    experiment = queue_experiment(researcher, dataset, epochs=1)
    zombie = Attempt.claim(context, Experiment, experiment.id)
    assert zombie is not None
    release_lost(Experiment, experiment.id, zombie.token, max_attempts=3)
    with pytest.raises(Superseded):
        zombie.save(progress=0.9)
    with pytest.raises(Superseded):
        zombie.end("succeeded")
    db.session.refresh(experiment)
    assert experiment.status == "queued"


@ON_BOTH
@pytest.mark.parametrize("is_lost", [True, False], ids=["lost", "handed over"])
def test_a_row_between_two_attempts_tells_what_is_kept_and_nothing_of_the_attempt_before(
    context: Flask, researcher: User, dataset: Dataset, is_lost: bool
) -> None:
    experiment = queue_experiment(researcher, dataset, epochs=8)
    attempt = Attempt.claim(context, Experiment, experiment.id)
    assert attempt is not None
    attempt.save(checkpoint_epoch=2, progress=0.3, eta_s=600.0, images_per_s=99.0, device="cuda: H200")
    if is_lost:
        release_lost(Experiment, experiment.id, attempt.token, max_attempts=3)
    else:
        attempt.release()
    for status in ("queued", "running"):
        db.session.refresh(experiment)
        assert (experiment.status, experiment.progress) == (status, 0.25)
        assert (experiment.eta_s, experiment.images_per_s, experiment.device) == (None, None, None)
        Attempt.claim(context, Experiment, experiment.id)


def test_the_sweep_removes_what_no_row_names_and_nothing_else(
    context: Flask, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = context.extensions["store"]
    garbage = store.keep(io.BytesIO(b"left behind"))
    monkeypatch.setattr(janitor, "GARBAGE_AGE_S", -1.0)
    janitor.sweep()
    left = {address for address, _ in store.addresses()}
    assert left == {dataset.manifest_sha256, *dataset.pack_sha256s}
    assert garbage not in left
