"""`make run`, with all of its processes: it starts, watches and stops them, and leaves none behind."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sites import ROOT, Site, is_alive, running_site, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc to see the processes")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_site(tmp_path) as running:
        yield running


def test_the_site_starts_everything_and_stops_everything(site: Site) -> None:
    site.wait_until_healthy()
    assert set(site.programs()) == {"valkey-server", "gunicorn", "jobs.worker", "jobs.janitor"}
    everything = site.tree()
    site.process.send_signal(signal.SIGINT)
    assert site.process.wait(60) == 0
    wait_until(lambda: not any(is_alive(pid) for pid in everything))


def test_what_dies_is_started_again(site: Site) -> None:
    site.wait_until_healthy()
    wait_until(lambda: len(site.programs()) == 4)
    before = site.programs()
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(site.programs()) == 4 and not set(site.programs().values()) & set(before.values()))
    site.wait_until_healthy()


def test_no_process_outlives_a_killed_supervisor(site: Site) -> None:
    site.wait_until_healthy()
    everything = site.tree()
    site.process.kill()
    site.process.wait(10)
    wait_until(lambda: not any(is_alive(pid) for pid in everything))


def test_a_second_site_on_the_same_folder_is_refused(site: Site) -> None:
    site.wait_until_healthy()
    second = site.start()
    assert second.wait(30) == 1
    assert "A site already runs on" in (site.folder / "log").read_text()


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "webapp.runner"],
            cwd=ROOT,
            env=os.environ | {"APP_DATA_DIR": str(tmp_path), "APP_PORT": port},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert f"127.0.0.1:{port} is not free" in done.stderr
    assert "APP_PORT" in done.stderr
