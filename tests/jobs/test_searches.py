"""A search through real workers, two of them, one of which is killed."""

import os
import signal

import pytest

from ml.config import TrainConfig
from ml.space import SENSIBLE, Dimension, Plan
from tests.jobs.processes import Processes
from tests.sites import children_of, wait_until
from webapp import queue
from webapp.models import FINAL_STATUSES, Dataset, Experiment, Search, User, db
from webapp.searches import results, service


def refreshed(search: Search) -> Search:
    db.session.rollback()
    db.session.refresh(search)
    return search


@pytest.mark.slow
def test_two_workers_share_the_trials_and_the_search_outlives_one_of_them(
    processes: Processes, researcher: User, dataset: Dataset
) -> None:
    first, _ = processes.warm_worker(), processes.warm_worker()
    processes.janitor()
    wait_until(lambda: len(queue.workers()) == 2)
    plan = Plan(trials=2, pruning="none", space={"learning_rate": SENSIBLE["learning_rate"]})
    search = service.create(dataset.id, "Two", TrainConfig(epochs=1, image_size_px=32, batch_size=8), plan, researcher)
    assert len(search.trials) == 2
    wait_until(lambda: bool(children_of(first.pid)))
    for pid in (*children_of(first.pid), first.pid):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: refreshed(search).status in FINAL_STATUSES)
    found = results.of(search)
    assert (search.status, found.count("finished")) == ("succeeded", 2)
    assert all(row.version for row in db.session.query(Experiment))
    assert found.trials[found.best - 1].score == max(trial.score for trial in found.trials)


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
@pytest.mark.slow
def test_on_postgresql_two_workers_run_the_trials_side_by_side_and_give_up_the_poor_ones(
    processes: Processes, researcher: User, dataset: Dataset
) -> None:
    workers = [processes.warm_worker(), processes.warm_worker()]
    wait_until(lambda: len(queue.workers()) == 2)
    # Of this seed the rates go up and down: whichever is best, a later one is worse.
    space = {"learning_rate": Dimension(low=1e-6, high=3e-3, is_log=True)}
    plan = Plan(trials=6, metric="loss", pruning="halving", space=space, seed=2)
    config = TrainConfig(epochs=4, image_size_px=32, batch_size=8)
    search = service.create(dataset.id, "Six", config, plan, researcher)
    wait_until(lambda: all(children_of(worker.pid) for worker in workers))
    wait_until(lambda: refreshed(search).status in FINAL_STATUSES)
    found = results.of(search)
    assert (search.status, len(found.trials)) == ("succeeded", 6)
    assert {trial.state for trial in found.trials} == {"finished", "pruned"}
    for trial, row in zip(found.trials, found.rows, strict=True):
        assert row.config["learning_rate"] == trial.values["learning_rate"]
        assert list(trial.score_by_epoch) == list(range(1, len(row.epochs) + 1))
        if trial.state == "pruned":
            assert (row.status, row.version, row.pruned_epoch) == ("cancelled", None, len(row.epochs))
            assert len(row.epochs) < 4
        else:
            assert (row.status, len(row.epochs), bool(row.version)) == ("succeeded", 4, True)
    assert found.trials[found.best - 1].score == min(trial.score for trial in found.trials if trial.score)
    begun = [(row.started_at, row.finished_at) for row in found.rows]
    assert any(one[0] < other[0] < one[1] for one in begun for other in begun)
