"""A search through real workers, two of them, one of which is killed."""

import os
import signal
from pathlib import Path

import pytest

from ml.config import TrainConfig
from ml.space import SENSIBLE, Plan
from tests.jobs.processes import Processes, upload, wait_for
from tests.sites import children_of, wait_until
from webapp.models import FINAL_STATUSES, Experiment, Search, User, db
from webapp.searches import results, service


def refreshed(search: Search) -> Search:
    db.session.rollback()
    db.session.refresh(search)
    return search


@pytest.mark.timeout(600)  # a worker is lost and a training done again, on as few cores as there are
def test_two_workers_share_the_trials_and_the_search_outlives_one_of_them(
    processes: Processes, researcher: User, tmp_path: Path
) -> None:
    first, _ = processes.worker(), processes.worker()
    processes.janitor()
    dataset = wait_for(upload(researcher, tmp_path), lambda row: row.status == "ready")
    plan = Plan(trials=2, pruning="none", space={"learning_rate": SENSIBLE["learning_rate"]})
    search = service.create(dataset.id, "Two", TrainConfig(epochs=1, image_size_px=32, batch_size=8), plan, researcher)
    assert len(search.trials) == 2
    wait_until(lambda: any(row.status == "running" for row in refreshed(search).trials))
    for pid in (*children_of(first.pid), first.pid):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: refreshed(search).status in FINAL_STATUSES, timeout_s=200)
    found = results.of(search)
    assert (search.status, found.count("finished")) == ("succeeded", 2)
    assert all(row.version for row in db.session.query(Experiment))
    assert found.trials[found.best - 1].score == max(trial.score for trial in found.trials)


def test_a_trial_that_is_given_up_ends_early_without_a_version(
    processes: Processes, researcher: User, tmp_path: Path
) -> None:
    processes.worker()
    dataset = wait_for(upload(researcher, tmp_path), lambda row: row.status == "ready")
    plan = Plan(trials=2, metric="loss", pruning="halving", space={"learning_rate": SENSIBLE["learning_rate"]}, seed=12)
    search = service.create(dataset.id, "Two", TrainConfig(epochs=6, image_size_px=32, batch_size=8), plan, researcher)
    wait_until(lambda: refreshed(search).status in FINAL_STATUSES, timeout_s=200)
    first, second = search.trials
    assert (first.status, second.status) == ("succeeded", "cancelled")
    assert second.pruned_epoch == len(second.epochs) < 6
    assert second.version is None
