"""Gunicorn's worker: threads that stay with a connection, and never all of them."""

import contextlib
import http.client
import math
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from gunicorn.workers.gthread import ThreadWorker

from tests.sites import children_of, free_port, is_alive, wait_until
from webapp import held, peer, worker

THREADS = 4
CONFIG = """
    from webapp import held, peer, worker

    held.FRESH_S = {is_fresh_s}
    worker.HEAD_S = peer.PATIENCE_S = {patience_s}
    worker.STAYS_S = 60  # long enough for a slow machine
    worker_class = "webapp.worker.Worker"
"""
APP = """
    import os
    import threading

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/much":
            start_response("200 OK", [("Content-Length", str(2**26))])
            return [bytes(2**26)]
        who = os.getpid() if environ["PATH_INFO"] == "/process" else threading.get_ident()
        if environ["PATH_INFO"] == "/body":
            who = len(environ["wsgi.input"].read())
        start_response("200 OK", [("Content-Length", "20")])
        return [f"{who:020d}".encode()]
"""
LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Server(NamedTuple):
    port: int
    master: "subprocess.Popen[bytes]"


@pytest.fixture(params=[THREADS])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """One process with four threads, or as many as asked for, that says which of them answers."""
    with serving(tmp_path, threads=request.param) as found:
        yield found


@contextlib.contextmanager
def serving(
    tmp_path: Path,
    threads: int = THREADS,
    processes: int = 1,
    is_fresh_s: float = held.FRESH_S,
    patience_s: float = peer.PATIENCE_S,
    connections: int = 1_000,
) -> Iterator[Server]:
    config = CONFIG.format(is_fresh_s=is_fresh_s, patience_s=patience_s)
    for name, text in (("config.py", config), ("which.py", APP)):
        (tmp_path / name).write_text(textwrap.dedent(text))
    port = free_port()
    options = ["--config", str(tmp_path / "config.py"), "--threads", str(threads), "--bind", f"127.0.0.1:{port}"]
    options += ["--workers", str(processes), "--worker-connections", str(connections)]
    command = [sys.executable, "-m", "gunicorn", *options, "--pythonpath", str(tmp_path), "which:app"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: answers(port))
            yield Server(port, process)
        finally:
            process.terminate()


@pytest.fixture
def port(server: Server) -> int:
    return server.port


def test_requests_that_follow_at_once_are_answered_by_one_thread(port: int) -> None:
    with contextlib.closing(connected(port)) as connection:
        assert len({who_answers(connection) for _ in range(20)}) == 1


def test_connections_that_wait_leave_threads_for_others(port: int) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3 * THREADS):
            connection = stack.enter_context(contextlib.closing(connected(port)))
            assert who_answers(connection)


def test_busy_clients_leave_threads_for_others(port: int) -> None:
    is_over = threading.Event()

    def ask_on() -> None:
        with contextlib.closing(connected(port)) as connection:
            while not is_over.is_set():
                who_answers(connection)

    with ThreadPoolExecutor(2 * THREADS) as pool:
        busy = [pool.submit(ask_on) for _ in range(2 * THREADS)]
        try:
            seen = [answered(port) for _ in range(10)]
        finally:
            is_over.set()
    assert not any(one.exception() for one in busy)
    assert all(seen)


@pytest.mark.parametrize("server", [1], indirect=True)
def test_an_only_thread_stays_with_nobody(port: int) -> None:
    with contextlib.closing(connected(port)) as waiting:
        assert who_answers(waiting)
        assert answered(port)


def test_requests_that_are_sent_together_are_answered_one_after_another(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(2 * b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while received.count(b"200 OK") < 2 or not received[-20:].isdigit():
            received += connection.recv(4096)
    assert received.count(b"200 OK") == 2


def test_no_client_however_busy_keeps_a_worker_whose_master_is_gone(server: Server) -> None:
    (worker,) = children_of(server.master.pid)
    with contextlib.closing(connected(server.port)) as connection:
        assert who_answers(connection)
        server.master.kill()
        try:
            with pytest.raises(OSError):
                ask_for_seconds(connection, 20)
            wait_until(lambda: not is_alive(worker), timeout_s=20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)


def test_each_process_takes_as_many_connections_as_the_others(tmp_path: Path) -> None:
    with serving(tmp_path, threads=16, processes=3) as server:
        wait_until(lambda: len(processes_of(server.port, 60)) == 3)
        evenly = [2, 2, 2]
        wait_until(lambda: all(sorted(processes_of(server.port, 6).values()) == evenly for _ in range(7)), timeout_s=40)


def test_a_process_that_stands_still_is_waited_for_once(tmp_path: Path) -> None:
    with serving(tmp_path, processes=2, is_fresh_s=60) as server, contextlib.ExitStack() as stack:
        wait_until(lambda: len(processes_of(server.port, 20)) == 2)
        stopped = children_of(server.master.pid)[0]
        os.kill(stopped, signal.SIGSTOP)
        stack.callback(os.kill, stopped, signal.SIGCONT)
        for _ in range(500):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answered(server.port) != f"{stopped:020d}"


def test_a_process_that_ended_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []
    monkeypatch.setattr(ThreadWorker, "run", lambda self: ended.append(self))
    one = worker.Worker.__new__(worker.Worker)
    one.age, one.alive, one.nr_conns = 7, True, 0
    one._tell()
    one.run()
    assert ended == [one]
    assert held.fewest() == math.inf


def test_clients_that_do_not_close_keep_nobody_waiting(port: int) -> None:
    with contextlib.ExitStack() as stack:
        lingering = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5)) for _ in range(12)]
        for one in lingering:
            one.sendall(LAST)
        assert answered(port)
        assert all(received_from(one)[-20:].isdigit() for one in lingering)


def test_a_client_that_does_not_close_is_closed(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as lingering:
        lingering.sendall(LAST)
        received_from(lingering)
        wait_until(lambda: is_refused(lingering), timeout_s=20)


def connected(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=5)


def answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        return bool(answered(port))
    return False


def answered(port: int) -> str:
    with contextlib.closing(connected(port)) as connection:
        return who_answers(connection)


def received_from(connection: socket.socket) -> bytes:
    """All that comes until the server has ended its side."""
    received = b""
    while data := connection.recv(4096):
        received += data
    return received


def is_refused(connection: socket.socket) -> bool:
    """Whether what is sent on meets nobody any more."""
    try:
        connection.sendall(b"x")
    except OSError:
        return True
    return False


def ask_for_seconds(connection: http.client.HTTPConnection, seconds: float) -> None:
    began_s = time.monotonic()
    while time.monotonic() - began_s < seconds:
        who_answers(connection)


def processes_of(port: int, connections: int) -> Counter[str]:
    """How many of so many connections, all open at once, each process answers."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(contextlib.closing(connected(port))) for _ in range(connections)]
        return Counter(who_answers(connection, "/process") for connection in opened)


def who_answers(connection: http.client.HTTPConnection, path: str = "/") -> str:
    connection.request("GET", path)
    return connection.getresponse().read().decode()
