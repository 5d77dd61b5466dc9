"""How many experiments an hour one worker does, and two: `python -m benchmarks.scale [experiments]`.

Real worker processes with disks of their own, on one PostgreSQL, one Valkey and one SeaweedFS. Each experiment is the
quick preset's network on small images; each worker has as many threads as its share of the machine allows, so that two
workers stand for two machines of half the size.
"""

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import func, select

from ml.config import TrainConfig
from tests import factories, servers
from tests.conftest import application, migrate
from tests.jobs.processes import Processes
from webapp.models import Experiment, db
from webapp.settings import Settings

EPOCHS = 3
IMAGES: dict[str, Any] = {"train": 40, "validation": 10, "test": 10}
PATIENCE_S = 900


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    threads = max(1, (os.cpu_count() or 1) // 2)
    print(f"{count} experiments, {threads} threads for each worker")
    print(f"{'workers':>8} {'seconds':>8} {'an hour':>8}")
    an_hour = {workers: measure(workers, count, threads) for workers in (1, 2)}
    ratio = an_hour[2] / an_hour[1]
    print(json.dumps({"two_workers_ratio": ratio, "an_hour": an_hour, "threads": threads, "experiments": count}))


def measure(workers: int, count: int, threads: int) -> float:
    """Experiments an hour of so many workers, from when all are there to the end of the last experiment."""
    with site() as app, app.app_context(), contextlib.closing(Workers(app)) as started:
        dataset = factories.make_dataset(size_px=64, **IMAGES)
        started.add(workers, threads)
        config = TrainConfig(epochs=EPOCHS, image_size_px=64)
        began_s = time.perf_counter()
        for _ in range(count):
            factories.make_experiment(dataset, config=config)
        started.wait_until_done(count)
        seconds = time.perf_counter() - began_s
    print(f"{workers:8} {seconds:8.1f} {count / seconds * 3600:8.0f}")
    return count / seconds * 3600


@contextlib.contextmanager
def site() -> Iterator[Flask]:
    """An application on servers of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        servers.postgres() as postgres,
        servers.valkey() as redis_url,
        servers.seaweed() as seaweed,
    ):
        settings = Settings(
            data_dir=Path(folder),
            database_url=postgres.url(postgres.create()),
            redis_url=redis_url,
            secret_key="s" * 32,
            **seaweed.settings("scale"),
        )
        migrate(settings)
        with application(settings) as app:
            yield app


class Workers:
    """Worker processes and a janitor, which rings for the experiments."""

    def __init__(self, app: Flask) -> None:
        self._settings: Settings = app.extensions["settings"]
        self._processes = Processes(self._settings)
        self.close = self._processes.close

    def add(self, count: int, threads: int) -> None:
        for number in range(count):
            disk = str(self._settings.data_dir / f"disk-{number}")
            self._processes.start("-m", "jobs.worker", APP_CACHE_DIR=disk, OMP_NUM_THREADS=str(threads))
        self._processes.start("-m", "jobs.janitor")
        time.sleep(5)  # until all have started

    def wait_until_done(self, count: int) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        done = select(func.count()).where(Experiment.status == "succeeded")
        while (db.session.scalar(done) or 0) < count:
            db.session.rollback()
            failed = db.session.scalar(select(Experiment.failed_because).where(Experiment.status == "failed"))
            if failed or time.monotonic() > deadline_s:
                raise RuntimeError(failed or f"Not all were done within {PATIENCE_S} s.")
            time.sleep(0.2)


if __name__ == "__main__":
    main()
