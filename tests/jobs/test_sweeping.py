"""Copies on a worker's machine: gone a day after their last use, whatever the worker does meanwhile."""

import os
import time
from pathlib import Path

from tests.jobs.processes import Processes, queue_experiment, wait_for
from tests.sites import wait_until
from webapp.models import Dataset, User
from webapp.settings import Settings
from webapp.storage.copies import KEPT_S

MANY = 400  # epochs; more than the test waits for


def left_two_days_ago(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(b"pixels of a patient who was removed")
    at = time.time() - 2 * KEPT_S
    os.utime(path, (at, at))
    return path


def test_a_worker_removes_copies_a_day_after_their_use_when_it_starts_waits_and_works(
    processes: Processes, researcher: User, dataset: Dataset, settings: Settings
) -> None:
    copies = settings.scratch / "copies"
    at_start = left_two_days_ago(copies, "at-start")
    processes.worker()
    wait_until(lambda: not at_start.exists())
    waiting = left_two_days_ago(copies, "waiting")
    wait_until(lambda: not waiting.exists())
    experiment = queue_experiment(researcher, dataset, epochs=MANY)
    wait_for(experiment, lambda row: len(row.epochs) > 0)  # its own images are decoded
    working = left_two_days_ago(copies, "working")
    wait_until(lambda: not working.exists())
    assert wait_for(experiment, lambda row: True).status == "running"
