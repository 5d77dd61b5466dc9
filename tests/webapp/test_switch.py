"""A real site under load: after a switch every process follows within two seconds, and every answer is remembered."""

import io
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import requests
from PIL import Image

from ml.config import TrainConfig
from tests import factories
from tests.conftest import application
from tests.sites import Site, children_of, is_healthy, running_site, wait_until
from webapp.datasets import contents
from webapp.models import ModelVersion, Prediction, User, db
from webapp.registry import service as registry
from webapp.settings import Settings

CLIENTS = 6
SWITCHES = 20
LIMIT_S = 2.0
LEANINGS = (-2.0, 2.0, 1.0)
CLOSE = 1e-5  # another batch rounds in another way
SETTLED = 40  # answers in a row: so many all from one of two processes are no chance


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_site(tmp_path) as running:
        running.wait_until_healthy()
        yield running


class Said(NamedTuple):
    """One answer: when it was asked for, when it came, its status, and which version says which probability."""

    asked_s: float
    at_s: float
    status: int
    version: int | None = None
    probability: float | None = None


class Load:
    """Clients that ask without a pause."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.url, self.headers = url, headers | {"Content-Type": "image/png"}
        buffer = io.BytesIO()
        Image.new("L", (64, 64), 110).save(buffer, "PNG")
        self.image = buffer.getvalue()
        self.answers: list[Said] = []
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        self._done.set()

    def __exit__(self, *_: object) -> None:
        self.stop()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._done.is_set():
            asked_s = time.monotonic()
            try:
                answer = requests.post(f"{self.url}/predict", self.image, headers=self.headers, timeout=30)
                self.answers.append(Said(asked_s, time.monotonic(), answer.status_code, *_of(answer)))
            except requests.RequestException:
                self.answers.append(Said(asked_s, time.monotonic(), 0))

    def follow(self, version_id: int, since_s: float) -> float:
        """The seconds until every answer was that of the version."""
        while True:
            recent = [one for one in self.answers if one.asked_s > since_s]
            others = [one.asked_s for one in recent if one.version != version_id]
            last_s = max(others, default=since_s)
            if sum(one.asked_s > last_s for one in recent) >= SETTLED:
                return last_s - since_s
            assert time.monotonic() - since_s < 10 * LIMIT_S, "some process never switched"
            time.sleep(0.02)


def _of(answer: requests.Response) -> tuple[int, float] | tuple[()]:
    """The version that the answer names, and the probability of the last class."""
    if not answer.ok:
        return ()
    said = answer.json()
    return said["model"]["version"], said["predictions"][0]["probabilities"]["malignant"]


def _settings(site: Site) -> Settings:
    return Settings(data_dir=site.folder / "var", redis_url="redis://127.0.0.1:1")


def _remembered() -> int:
    return db.session.query(Prediction).count()


def _four_versions() -> list[ModelVersion]:
    """More than a process keeps in memory, so that each switch to the next one loads it; one is a MobileNetV3-small."""
    config = TrainConfig(network="mobilenet_v3_small", image_size_px=224)
    experiment = factories.make_experiment(status="succeeded", progress=1.0, config=config)
    small = [factories.make_version(leaning=leaning) for leaning in LEANINGS]
    return [*small, factories.make_version(experiment, is_exported=True)]


def test_twenty_switches_under_load_fail_no_request_and_mix_no_answer(site: Site) -> None:
    settings, took_s = _settings(site), []
    with application(settings) as app, app.app_context():
        user, versions = factories.make_user(), _four_versions()
        numbers = [version.id for version in versions]
        headers = factories.bearer(factories.make_token(user, "predict"))
        registry.activate(versions[-1], "first", user)
        with Load(f"http://127.0.0.1:{site.port}", headers) as load:
            load.follow(numbers[-1], time.monotonic())
            for number in range(SWITCHES):
                registry.activate(versions[number % len(versions)], "switch", user)
                took_s.append(load.follow(numbers[number % len(versions)], time.monotonic()))
            damaged = _activate_damaged(user)
            time.sleep(1)
            health = requests.get(f"http://127.0.0.1:{site.port}/health", timeout=5).json()
    assert {one.status for one in load.answers} == {200}
    assert max(took_s) < LIMIT_S
    _check_unmixed([[one.probability for one in load.answers if one.version == number] for number in numbers])
    assert (health["status"], health["model"]["version"]) == ("degraded", numbers[-1])
    assert f"Version {damaged} cannot be loaded" in health["checks"]["model"]
    site.process.terminate()
    site.process.wait(60)
    with application(settings) as app, app.app_context():
        assert _remembered() == len(load.answers)  # a clean stop loses none


def _check_unmixed(said: list[list[float]]) -> None:
    """Each version always says the same, and no other says it."""
    assert max(max(one) - min(one) for one in said) < CLOSE
    means = sorted(sum(one) / len(one) for one in said)
    assert min(after - before for before, after in itertools.pairwise(means)) > 100 * CLOSE


def _activate_damaged(user: User) -> int:
    """A version whose graph has one byte that is not its own."""
    version = factories.make_version(leaning=1.0)
    with contents.store().fetch(version.model_sha256) as path:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    registry.activate(version, "damaged", user)
    return version.id


def test_a_killed_process_forgets_no_answer_that_is_older_than_a_second(site: Site) -> None:
    with application(_settings(site)) as app, app.app_context():
        user = factories.make_user()
        headers = factories.bearer(factories.make_token(user, "predict"))
        registry.activate(factories.make_version(), "first", user)
        with Load(f"http://127.0.0.1:{site.port}", headers) as load:
            time.sleep(2)
            killed_s = time.monotonic()
            for pid in children_of(site.programs()["gunicorn"]):
                os.kill(pid, signal.SIGKILL)
            load.stop()
        wait_until(lambda: is_healthy(site.port))
        time.sleep(1)
        assert _remembered() >= sum(one.status == 200 and one.at_s < killed_s - 1 for one in load.answers) > 0
