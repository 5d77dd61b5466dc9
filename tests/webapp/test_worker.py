"""Gunicorn's worker: threads that stay with a connection, and never all of them."""

import contextlib
import http.client
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sites import free_port, wait_until

THREADS = 4
CONFIG = """
    from webapp import worker

    worker.STAYS_S = 60  # long enough for a slow machine
    worker_class = "webapp.worker.Worker"
"""
APP = """
    import threading

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "20")])
        return [f"{threading.get_ident():020d}".encode()]
"""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Where one process with four threads says which of them answers."""
    for name, text in (("config.py", CONFIG), ("which.py", APP)):
        (tmp_path / name).write_text(textwrap.dedent(text))
    port = free_port()
    options = ["--config", str(tmp_path / "config.py"), "--threads", str(THREADS), "--bind", f"127.0.0.1:{port}"]
    command = [sys.executable, "-m", "gunicorn", *options, "--pythonpath", str(tmp_path), "which:app"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: answers(port))
            yield port
        finally:
            process.terminate()


def test_requests_that_follow_at_once_are_answered_by_one_thread(port: int) -> None:
    with contextlib.closing(connected(port)) as connection:
        assert len({who_answers(connection) for _ in range(20)}) == 1


def test_connections_that_wait_leave_threads_for_others(port: int) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3 * THREADS):
            connection = stack.enter_context(contextlib.closing(connected(port)))
            assert who_answers(connection)


def connected(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=5)


def answers(port: int) -> bool:
    with contextlib.closing(connected(port)) as connection, contextlib.suppress(OSError):
        return bool(who_answers(connection))
    return False


def who_answers(connection: http.client.HTTPConnection) -> str:
    connection.request("GET", "/")
    return connection.getresponse().read().decode()
