"""A real site under load: after a switch every process follows within two seconds, and every answer is remembered."""

import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from PIL import Image

from tests import factories
from tests.conftest import application
from tests.sites import Site, children_of, is_healthy, running_site, wait_until
from webapp.models import Prediction, db
from webapp.registry import service as registry
from webapp.settings import Settings

CLIENTS = 6
SWITCHES = 6


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_site(tmp_path) as running:
        running.wait_until_healthy()
        yield running


class Load:
    """Clients that ask without a pause; every answer is (time of asking, time of the answer, status, version)."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.url, self.headers = url, headers | {"Content-Type": "image/png"}
        buffer = io.BytesIO()
        Image.new("L", (64, 64), 128).save(buffer, "PNG")
        self.image = buffer.getvalue()
        self.answers: list[tuple[float, float, int, int | None]] = []
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
                version = answer.json()["model"]["version"] if answer.ok else None
                self.answers.append((asked_s, time.monotonic(), answer.status_code, version))
            except requests.RequestException:
                self.answers.append((asked_s, time.monotonic(), 0, None))


def _settings(site: Site) -> Settings:
    return Settings(data_dir=site.folder / "var", redis_url="redis://127.0.0.1:1")


def _remembered() -> int:
    return db.session.query(Prediction).count()


def test_every_process_switches_within_two_seconds_and_no_request_fails(site: Site) -> None:
    settings = _settings(site)
    switched: list[tuple[float, int]] = []
    with application(settings) as app, app.app_context():
        user = factories.make_user()
        versions = [factories.make_version(), factories.make_version()]
        headers = factories.bearer(factories.make_token(user, "predict"))
        registry.activate(versions[0], "first", user)
        with Load(f"http://127.0.0.1:{site.port}", headers) as load:
            for number in range(SWITCHES):
                time.sleep(2.2)
                registry.activate(versions[(number + 1) % 2], "switch", user)
                switched.append((time.monotonic(), versions[(number + 1) % 2].id))
            time.sleep(2.2)
    assert {status for _, _, status, _ in load.answers} == {200}
    for at_s, wanted in switched:
        late = [version for asked_s, _, _, version in load.answers if at_s + 2 < asked_s < at_s + 2.2]
        assert late
        assert set(late) == {wanted}
    site.process.terminate()
    site.process.wait(60)
    with application(settings) as app, app.app_context():
        assert _remembered() == len(load.answers)  # a clean stop loses none


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
        assert (
            _remembered()
            >= sum(status == 200 and answered_s < killed_s - 1 for _, answered_s, status, _ in load.answers)
            > 0
        )
