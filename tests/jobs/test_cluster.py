"""What a cluster is made of, as real processes: each with a disk of its own, on one database, one queue, one bucket."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from flask import Flask
from sqlalchemy import func, select

from tests import factories, servers
from tests.jobs.processes import Processes
from tests.ml.factories import encoded, noise
from tests.sites import children_of, is_healthy, wait_until
from webapp.models import Evaluation, Experiment, ModelVersion, User, db
from webapp.settings import Settings

EXPERIMENTS = 12
IMAGE = encoded(noise())


@pytest.fixture
def settings(
    request: pytest.FixtureRequest,
    postgres: servers.Postgres,
    bucket: dict[str, str],
    valkey: servers.Valkey,
    tmp_path: Path,
) -> Iterator[Settings]:
    name = postgres.create(template=request.getfixturevalue("_postgres_template"))
    own = {"database_url": postgres.url(name), "redis_url": valkey.url, "heartbeat_timeout_s": 4.0}
    yield Settings(data_dir=tmp_path / "test", secret_key="s" * 32, web_concurrency=1, **own, **bucket)
    postgres.drop(name)


class Cluster:
    """Web processes and workers, none of which sees the disk of another one."""

    def __init__(self, processes: Processes, folder: Path, headers: dict[str, str]) -> None:
        self.processes, self.folder, self.headers = processes, folder, headers
        self.ports: list[int] = []

    def new_disk(self) -> dict[str, str]:
        """Where the process that is started next has its own files."""
        disk = self.folder / f"disk-{len(self.processes.started)}"
        return {"APP_DATA_DIR": str(disk), "APP_CACHE_DIR": str(disk / "cache")}

    def add_web(self) -> None:
        (port,) = servers.free_ports(1)
        self.ports.append(port)
        command = ("-m", "gunicorn", "--config", "python:webapp.gunicorn", "wsgi:app")
        self.processes.start(*command, APP_PORT=str(port), **self.new_disk())

    def add_worker(self) -> "subprocess.Popen[bytes]":
        return self.processes.warm_worker(**self.new_disk())

    def answered_by(self, port: int) -> int:
        """The version that answers there."""
        sent = self.headers | {"Content-Type": "image/png"}
        answer = requests.post(f"http://127.0.0.1:{port}/predict", data=IMAGE, headers=sent, timeout=30)
        answer.raise_for_status()
        return int(answer.json()["model"]["version"])


@pytest.fixture
def cluster(processes: Processes, tmp_path: Path, researcher: User) -> Cluster:
    return Cluster(processes, tmp_path, factories.bearer(factories.make_token(researcher)))


@contextlib.contextmanager
def asked_all_the_time(cluster: Cluster) -> Iterator[list[tuple[float, int]]]:
    """Asks each web process again and again; the moment and the version of each answer. Any refusal is an error."""
    stop, answers, faults = threading.Event(), [], []

    def ask() -> None:
        while not stop.wait(0.1):
            for port in cluster.ports:
                try:
                    began_s = time.monotonic()
                    answers.append((began_s, cluster.answered_by(port)))
                except requests.RequestException as fault:
                    faults.append(fault)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()
    assert not faults


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cluster_does_all_its_work_once_whatever_falls_over(
    cluster: Cluster, valkey: servers.Valkey, context: Flask, researcher: User
) -> None:
    dataset = factories.make_dataset()
    first, second = (factories.make_version(leaning=leaning).id for leaning in (0.0, 1.0))
    factories.make_activation(db.session.get_one(ModelVersion, first))
    queued = [factories.make_experiment(dataset, researcher).id for _ in range(EXPERIMENTS)]
    for _ in range(2):
        cluster.add_web()
    workers = [cluster.add_worker() for _ in range(3)]
    cluster.processes.janitor(**cluster.new_disk())
    wait_until(lambda: all(is_healthy(port) for port in cluster.ports))

    with asked_all_the_time(cluster) as answers:
        wait_until(lambda: bool(children_of(workers[0].pid)) and statuses(queued)["running"] == 3)
        for pid in (workers[0].pid, *children_of(workers[0].pid)):
            os.kill(pid, signal.SIGKILL)
        cluster.add_worker()
        wait_until(lambda: statuses(queued)["succeeded"] >= 2)
        valkey.restart()
        url = f"http://127.0.0.1:{cluster.ports[0]}/api/v1/versions/{second}/activate"
        requests.post(url, json={"reason": "Better"}, headers=cluster.headers, timeout=30).raise_for_status()
        activated_s = time.monotonic()
        wait_until(lambda: statuses(queued)["succeeded"] == EXPERIMENTS, timeout_s=450)
    assert {version for asked_s, version in answers if asked_s > activated_s + 2} == {second}
    assert [cluster.answered_by(port) for port in cluster.ports] == [second, second]
    everything_was_done_once(queued)


def statuses(experiments: list[int]) -> Counter[str]:
    db.session.rollback()
    return Counter(db.session.scalars(select(Experiment.status).where(Experiment.id.in_(experiments))))


def everything_was_done_once(experiments: list[int]) -> None:
    """One version, one evaluation and each epoch once, of every experiment; only the killed worker's needed another."""
    rows = db.session.scalars(select(Experiment).where(Experiment.id.in_(experiments))).all()
    assert sum(row.attempts for row in rows) == EXPERIMENTS + 1
    for row in rows:
        assert [epoch.number for epoch in row.epochs] == [1]
        (version,) = db.session.scalars(select(ModelVersion).where(ModelVersion.experiment_id == row.id)).all()
        assert db.session.scalar(select(func.count()).where(Evaluation.version_id == version.id)) == 1
