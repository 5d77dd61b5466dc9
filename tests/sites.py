"""A whole site of its own in a folder, started as `make run` starts it."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[1]


class Site:
    """A site of its own in a folder."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder, self.port, self.settings = folder, free_port(), settings
        self.log = (folder / "log").open("wb")
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        own = {"APP_DATA_DIR": str(self.folder / "var"), "APP_PORT": str(self.port)}
        environment = os.environ | own | self.settings
        command = [sys.executable, "-m", "webapp.runner"]
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=self.log, stderr=self.log)

    def wait_until_healthy(self) -> None:
        wait_until(lambda: is_healthy(self.port), (self.folder / "log").read_text)

    def programs(self) -> dict[str, int]:
        """The pid of each program that supervisor started."""
        found = {}
        for pid in children_of(self.process.pid):
            command = read_proc(pid, "cmdline")
            for name in ("valkey-server", "gunicorn", "jobs.worker", "jobs.janitor"):
                if name in command:
                    found[name] = pid
        return found

    def tree(self) -> list[int]:
        return descendants_of(self.process.pid)


@contextlib.contextmanager
def running_site(folder: Path, **settings: str) -> Iterator[Site]:
    """A site that runs within the `with` block; `settings` are environment variables."""
    site = Site(folder, **settings)
    try:
        yield site
    finally:
        if site.process.poll() is None:
            site.process.terminate()
            site.process.wait(60)
        site.log.close()


def read_proc(pid: int, name: str) -> str:
    """A file of `/proc/PID`; empty where the process has ended, before or while it is read."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_healthy(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=2).ok
    except requests.RequestException:
        return False


def children_of(pid: int) -> list[int]:
    return [int(child) for child in read_proc(pid, f"task/{pid}/children").split()]


def descendants_of(pid: int) -> list[int]:
    return [found for child in children_of(pid) for found in (child, *descendants_of(child))]


def is_alive(pid: int) -> bool:
    """Whether the process exists and is more than a zombie."""
    state = read_proc(pid, "stat").rpartition(") ")[2]
    return bool(state) and state[0] not in "ZX"


def wait_until(condition: Callable[[], bool], story: Callable[[], str] = str, timeout_s: float = 90) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, story()
        time.sleep(0.1)
