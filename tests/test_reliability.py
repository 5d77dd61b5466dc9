"""What goes wrong around a running site: no answer is wrong, none is a 5xx but an honest 503; it recovers by itself."""

import asyncio
import contextlib
import os
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from ml.images import encode_canonical
from tests import servers
from tests.sites import Site, children_of, is_healthy, wait_until
from tests.test_rest_site import site_with_a_model
from webapp import peer, postgres

BRIGHT = encode_canonical(np.full((24, 24, 3), 200, np.uint8))
CONNECTIONS = 1_000
SLOW = 40  # of each kind: more than all threads of the site
DISK_MB = 64
Asked = tuple[Site, dict[str, str]]
Leaving = Callable[[Site], contextlib.AbstractContextManager[None]]  # without room


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Postgres]:
    """A PostgreSQL that may be killed: no other test uses it."""
    with servers.postgres() as server:
        yield server


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the site, its data on a small disk of their own where this user may make one."""
    with small_disk(tmp_path_factory.mktemp("site")) as folder:
        yield folder


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    (folder / "var").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder / "var")]
    is_mounted = os.geteuid() == 0 and not subprocess.run(mount, capture_output=True, check=False).returncode
    yield folder
    if is_mounted:
        subprocess.run(["umount", "-l", folder / "var"], check=True)


@pytest.fixture(scope="module")
def asked(server: servers.Postgres, disk: Path) -> Iterator[Asked]:
    """A running site and the headers of a client system."""
    url = server.url(server.create())
    with site_with_a_model(disk, APP_DATABASE_URL=url, APP_WORKERS="0") as (site, token):
        yield site, {"Authorization": f"Bearer {token}", "Content-Type": "image/png"}


class Clients:
    """Four that ask without a pause within the `with` block, and judge each answer."""

    def __init__(self, site: Site, headers: dict[str, str]) -> None:
        self.url, self.headers = f"http://127.0.0.1:{site.port}/predict", headers
        self.seen: list[tuple[float, int]] = []  # when, and the status; 0 where the connection broke
        self.wrong: list[str] = []
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        time.sleep(0.3)
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()
        assert not self.wrong, (self.wrong[:3], Counter(status for _, status in self.seen))

    def _ask(self) -> None:
        while not self._done.is_set():
            try:
                answer = requests.post(self.url, BRIGHT, headers=self.headers, timeout=20)
            except requests.RequestException:
                self.seen.append((time.monotonic(), 0))
            else:
                self.seen.append((time.monotonic(), answer.status_code))
                if not is_honest(answer):
                    self.wrong.append(f"{answer.status_code} {dict(answer.headers)} {answer.text}")

    def statuses(self, since_s: float = 0.0) -> set[int]:
        return {status for moment_s, status in self.seen if moment_s > since_s}


def is_honest(answer: requests.Response) -> bool:
    """Whether it is the right answer, or a refusal that says when to come back."""
    if answer.status_code == 200:
        (found,) = answer.json()["predictions"]
        return bool(found["label"] == "malignant" and found["probability"] > 0.99)
    return answer.status_code == 503 and int(answer.headers.get("Retry-After", 0)) > 0


def recovers(site: Site, headers: dict[str, str]) -> bool:
    """Whether the same site is well again, with the same supervisor."""
    wait_until(lambda: is_healthy(site.port), timeout_s=30)
    with Clients(site, headers) as clients:
        time.sleep(1)
    return clients.statuses() == {200} and site.process.poll() is None


def request_of(headers: dict[str, str]) -> bytes:
    """What a client sends before the image."""
    own = headers | {"Host": "x", "Connection": "close", "Content-Length": str(len(BRIGHT))}
    return ("POST /predict HTTP/1.1\r\n" + "".join(f"{key}: {own[key]}\r\n" for key in own) + "\r\n").encode()


def test_a_killed_redis_costs_no_prediction(asked: Asked) -> None:
    site, headers = asked
    before = site.programs()["valkey-server"]
    with Clients(site, headers) as clients:
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: site.programs().get("valkey-server", before) != before)
    assert clients.statuses() == {200}
    assert recovers(site, headers)


def test_a_killed_database_is_an_honest_refusal_until_it_is_back(asked: Asked, server: servers.Postgres) -> None:
    site, headers = asked
    processes = children_of(site.programs()["gunicorn"])
    with Clients(site, headers) as clients:
        server.kill()
        away_s = time.monotonic()
        time.sleep(1.5)
        health = requests.get(f"http://127.0.0.1:{site.port}/health", timeout=10)
        server.start()
    assert 503 in clients.statuses(away_s)
    assert 0 not in clients.statuses()
    assert (health.status_code, health.json()["checks"]["database"]) == (503, "down")
    assert recovers(site, headers)
    assert children_of(site.programs()["gunicorn"]) == processes


def test_a_frozen_database_is_an_honest_refusal_until_it_goes_on(asked: Asked, server: servers.Postgres) -> None:
    site, headers = asked
    with Clients(site, headers) as clients, server.frozen():
        frozen_s = time.monotonic()
        wait_until(lambda: 503 in clients.statuses(frozen_s), timeout_s=postgres.WEB_STATEMENT_S + 5)
        health = requests.get(f"http://127.0.0.1:{site.port}/health", timeout=10)
        alive = requests.get(f"http://127.0.0.1:{site.port}/health/live", timeout=2)
    assert 0 not in clients.statuses()
    assert (health.status_code, health.json()["checks"]["database"]) == (503, "down")
    assert alive.ok
    with Clients(site, headers):
        time.sleep(postgres.CONNECT_S + postgres.AWAY_S)  # by then each process has asked once more
    assert recovers(site, headers)


def test_a_killed_web_process_breaks_what_it_had_in_hand_and_no_more(asked: Asked) -> None:
    site, headers = asked
    master = site.programs()["gunicorn"]
    victim = children_of(master)[0]
    with Clients(site, headers) as clients:
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in children_of(master) and len(children_of(master)) == 2)
    assert sum(status == 0 for _, status in clients.seen) <= 4  # one for each client
    assert clients.statuses() - {0} == {200}
    assert recovers(site, headers)


def test_slow_clients_and_those_that_leave_hold_nobody_up(asked: Asked) -> None:
    site, headers = asked
    start = request_of(headers)
    login = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    login += b"Content-Length: 900000\r\n\r\nemail="
    halves = (b"", start[:40], start + BRIGHT[:-9], large(start) + bytes(9_000), login)
    with contextlib.ExitStack() as stack:
        slow = []
        for half in halves:
            for _ in range(SLOW):
                one = stack.enter_context(socket.create_connection(("127.0.0.1", site.port), timeout=20))
                one.sendall(half)
                slow.append(one)
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", site.port)) as leaving:
                leaving.sendall(start + BRIGHT[:-9])
        began_s = time.monotonic()
        while time.monotonic() < began_s + 5:
            assert requests.get(f"http://127.0.0.1:{site.port}/health/live", timeout=2).ok
            assert is_honest(requests.post(f"http://127.0.0.1:{site.port}/predict", BRIGHT, headers=headers, timeout=2))
            for one in slow[:SLOW] if time.monotonic() > began_s + 4 else ():
                with contextlib.suppress(OSError):
                    one.sendall(b"x")
        with Clients(site, headers) as clients:
            time.sleep(1.5)
        assert 200 in clients.statuses()
        assert 0 not in clients.statuses()
        endings = {first_of(one)[9:12] for one in slow}
        assert endings <= {b"", b"408", b"503"}, endings
        assert time.monotonic() - began_s < 30
    assert recovers(site, headers)


def test_an_honest_slow_upload_arrives(asked: Asked) -> None:
    site, headers = asked
    data = BRIGHT + bytes(2**17 - len(BRIGHT))  # what follows the end of a PNG is no part of it
    began_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", site.port), timeout=20) as slow:
        slow.sendall(large(request_of(headers), len(data)))
        for at in range(0, len(data), 2**13):
            slow.sendall(data[at : at + 2**13])
            time.sleep(0.8)
        assert first_of(slow)[9:12] == b"200"
    assert time.monotonic() - began_s > peer.PATIENCE_S


def large(start: bytes, length: int = 20_000_000) -> bytes:
    """The same head for a body of so many bytes."""
    return re.sub(rb"Content-Length: [0-9]+", b"Content-Length: %d" % length, start)


def first_of(connection: socket.socket) -> bytes:
    """What comes first; nothing where the connection ended without a word."""
    try:
        return connection.recv(4096)
    except ConnectionResetError:
        return b""


def test_a_thousand_connections_at_once_are_answered_or_told_to_come_back(asked: Asked) -> None:
    site, headers = asked
    request, everybody = request_of(headers) + BRIGHT, asyncio.Event()

    async def one() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        await everybody.wait()
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer

    async def all_at_once() -> list[bytes]:
        tasks = [asyncio.create_task(one()) for _ in range(CONNECTIONS)]
        await asyncio.sleep(1)
        everybody.set()
        return await asyncio.wait_for(asyncio.gather(*tasks), 60)

    answers = asyncio.run(all_at_once())
    kinds = Counter(answer[9:12] for answer in answers)
    assert set(kinds) <= {b"200", b"503"}, kinds
    assert kinds[b"200"] > 0
    assert all(b"Retry-After: 1" in answer for answer in answers if answer[9:12] == b"503")
    assert recovers(site, headers)


def test_a_full_disk_is_said_and_stops_no_prediction(asked: Asked) -> None:
    site, headers = asked
    if not (site.folder / "var").is_mount():
        pytest.skip("only root can make a disk")
    with full(site), Clients(site, headers) as clients:
        refused = sent_archive(site, headers)
    assert refused.status_code == 503
    assert "disk" in refused.json()["detail"]
    assert clients.statuses() == {200}
    assert recovers(site, headers)


@contextlib.contextmanager
def full(site: Site) -> Iterator[None]:
    """Not a byte of room on the disk of the site within the `with` block."""
    filling = site.folder / "var" / "filling"
    with filling.open("wb", buffering=0) as file:
        for size in (2**16, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    yield
    filling.unlink()


@contextlib.contextmanager
def without_quota(site: Site) -> Iterator[None]:
    """No file of the web processes may grow within the `with` block: what a user without rights can do."""
    master = site.programs()["gunicorn"]
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in (master, *children_of(master))}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    yield
    for pid, limits in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


def sent_archive(site: Site, headers: dict[str, str]) -> requests.Response:
    archive = {"archive": ("images.zip", os.urandom(2**22))}
    bearer = {"Authorization": headers["Authorization"]}
    url = f"http://127.0.0.1:{site.port}/api/v1/datasets"
    return requests.post(url, data={"name": "Large"}, files=archive, headers=bearer, timeout=20)


@pytest.fixture(params=[full, without_quota])
def on_sqlite(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Asked, Leaving]]:
    """A site as `make run` starts it, with its database on the disk that fills, and the way in which it does."""
    with small_disk(tmp_path) as folder:
        if request.param is full and not (folder / "var").is_mount():
            pytest.skip("only root can make a disk; the quota shows the same")
        with site_with_a_model(folder, APP_WORKERS="0") as (site, token):
            yield (site, {"Authorization": f"Bearer {token}", "Content-Type": "image/png"}), request.param


def test_a_full_disk_loses_no_answer_of_a_site_whose_database_is_on_it(on_sqlite: tuple[Asked, Leaving]) -> None:
    (site, headers), leaving = on_sqlite
    first = requests.post(f"http://127.0.0.1:{site.port}/predict", BRIGHT, headers=headers, timeout=20).json()
    wait_until(lambda: remembered(site) == 1)
    with Clients(site, headers) as clients:
        with leaving(site):
            full_s = time.monotonic()
            refused = [sent_archive(site, headers), sent_truth(site, headers, first["request_id"])]
            time.sleep(3)
        room_s = time.monotonic()
        time.sleep(1)
    assert [answer.status_code for answer in refused] == [503, 503], [answer.text for answer in refused]
    assert clients.statuses() <= {200, 503}
    assert {status for moment_s, status in clients.seen if full_s < moment_s < room_s} & {200}
    answered = sum(status == 200 for _, status in clients.seen)
    wait_until(lambda: remembered(site) == 1 + answered, timeout_s=30)
    assert recovers(site, headers)


def sent_truth(site: Site, headers: dict[str, str], request_id: str) -> requests.Response:
    bearer = {"Authorization": headers["Authorization"]}
    url = f"http://127.0.0.1:{site.port}/api/v1/feedback"
    return requests.post(url, json={"request_id": request_id, "truth": "benign"}, headers=bearer, timeout=20)


def remembered(site: Site) -> int:
    with contextlib.closing(sqlite3.connect(site.folder / "var" / "platform.db")) as database:
        (found,) = database.execute("SELECT count(*) FROM prediction").fetchone()
        return int(found)
