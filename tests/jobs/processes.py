"""Real worker and janitor processes on the test's own database, Redis and store."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from ml.config import TrainConfig
from ml.ingest_options import IngestOptions
from ml.synthetic import write_archive
from tests.sites import children_of
from webapp.datasets import service as datasets
from webapp.experiments import service as experiments
from webapp.models import FINAL_STATUSES, Dataset, Experiment, User, db
from webapp.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
# What a child of `python -m jobs.worker` imports first, imported before the fork: seconds less for every job.
WARM_WORKER = """
from ml.threads import share_cores
share_cores()
import ml.release, torch._dynamo
from jobs.worker import main
main()
"""
# The janitor as it is, with rounds that follow each other sooner.
BUSY_JANITOR = """
from jobs import janitor
janitor.ROUND_INTERVAL_S = 1.0
janitor.main()
"""


class Processes:
    """Starts processes of the platform and ends them with the test."""

    def __init__(self, settings: Settings) -> None:
        self.environment = os.environ | environment_of(settings)
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, *arguments]
        process = subprocess.Popen(command, cwd=ROOT, env=self.environment | environment)
        self.started.append(process)
        return process

    def worker(self) -> "subprocess.Popen[bytes]":
        return self.start("-m", "jobs.worker")

    def warm_worker(self, **environment: str) -> "subprocess.Popen[bytes]":
        """A worker for tests of many jobs: it starts slowly, and its jobs at once. On the CPU only."""
        return self.start("-c", WARM_WORKER, **environment)

    def janitor(self, **environment: str) -> "subprocess.Popen[bytes]":
        return self.start("-c", BUSY_JANITOR, **environment)

    def close(self) -> None:
        for process in self.started:
            for child in children_of(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            if process.poll() is None:
                process.kill()
            process.wait(10)


def environment_of(settings: Settings) -> dict[str, str]:
    """The variables from which a process reads the same settings."""
    given = {f"APP_{name.upper()}": getattr(settings, name) for name in type(settings).model_fields}
    plain = {name: getattr(value, "get_secret_value", lambda value=value: value)() for name, value in given.items()}
    return {name: str(value) for name, value in plain.items() if value is not None}


def wait_for(row: Any, condition: Callable[[Any], bool], timeout_s: float = 90) -> Any:
    """The row, read again and again until the condition holds."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        db.session.rollback()
        db.session.refresh(row)
        if condition(row):
            return row
        if row.status in (*FINAL_STATUSES, "ready", "rejected"):
            break
        time.sleep(0.05)
    reason = getattr(row, row.REASON)
    raise AssertionError(f"{row.__tablename__} {row.id} is {row.status} ({row.phase}): {reason}")


def upload(user: User, folder: Path, images_per_class: int = 20) -> Dataset:
    """A pending data set of small synthetic images."""
    path = folder / "images.zip"
    write_archive(path, images_per_class=images_per_class, size_px=32, seed=1)
    return datasets.create_from_archive(BytesIO(path.read_bytes()), "Synthetic", IngestOptions(), user)


def queue_experiment(user: User, dataset: Dataset, epochs: int, **config: Any) -> Experiment:
    """A queued experiment of the small network on tiny images: an epoch takes a few hundredths of a second."""
    values = {"image_size_px": 32, "batch_size": 8, **config}
    return experiments.create(dataset.id, "Small", TrainConfig(epochs=epochs, **values), user)
