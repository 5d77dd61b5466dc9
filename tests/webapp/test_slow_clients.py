"""Clients that are slow, silent or malformed cost no thread that others need, and are cut off."""

import contextlib
import json
import resource
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import application
from tests.sites import children_of
from tests.webapp.test_worker import THREADS, answered, received_from, serving
from webapp import heads, peer
from webapp.predictions import turns
from webapp.settings import Settings

PATIENCE_S = 3.0
MANY = 4 * THREADS
POST = b"POST /body HTTP/1.1\r\nHost: x\r\n"
LARGE = 1 << 18
# What a client sends, and then how it ends; nothing is said to one that said nothing.
HALVES = {
    "silent": (b"", {b""}),
    "half a line": (b"GET / HT", {b"408"}),
    "half a head": (b"GET / HTTP/1.1\r\nHost: x\r\nX-Sl", {b"408"}),
    "half a form": (POST + b"Content-Length: 500\r\n\r\nemail=", {b"408"}),
    "half a large body": (POST + b"Content-Length: 1000000\r\n\r\nemail=", {b"408", b"503"}),
    "half a chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\n100\r\nabc", {b"408", b"503"}),
    "asks before it sends": (POST + b"Expect: 100-continue\r\nContent-Length: 500\r\n\r\n", {b"100"}),
}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """One process with four threads, patient for three seconds."""
    with serving(tmp_path_factory.mktemp("server"), patience_s=PATIENCE_S) as server:
        yield server.port


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def sent(port: int, data: bytes, stack: contextlib.ExitStack) -> socket.socket:
    client = stack.enter_context(connected(port))
    client.sendall(data)
    return client


def status_of(answer: bytes) -> bytes:
    return answer[9:12]


def all_are_answered(port: int, seconds: float) -> None:
    """Others who come meanwhile wait for less than two seconds each."""
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        asked_s = time.monotonic()
        assert answered(port)
        assert time.monotonic() - asked_s < 2
        time.sleep(0.1)


@pytest.mark.parametrize("kind", HALVES)
def test_more_slow_clients_than_threads_keep_nobody_waiting_and_are_cut_off(port: int, kind: str) -> None:
    data, endings = HALVES[kind]
    with contextlib.ExitStack() as stack:
        slow = [sent(port, data, stack) for _ in range(MANY)]
        began_s = time.monotonic()
        all_are_answered(port, 1.5)
        found = {status_of(received_from(one)) for one in slow}
        assert found <= endings
        assert time.monotonic() - began_s < PATIENCE_S + 3


@pytest.mark.parametrize("kind", ["half a head", "half a form", "half a large body"])
def test_a_byte_from_time_to_time_buys_no_time(port: int, kind: str) -> None:
    with contextlib.ExitStack() as stack:
        slow = sent(port, HALVES[kind][0], stack)
        slow.settimeout(0.4)
        began_s, answer = time.monotonic(), b""
        while not answer:
            with contextlib.suppress(TimeoutError):
                answer = slow.recv(4096)
            if not answer:
                slow.sendall(b"x")
        assert status_of(answer) == b"408"
        assert time.monotonic() - began_s < PATIENCE_S + 3


def test_an_honest_slow_upload_gets_through_beside_those_that_are_not(port: int) -> None:
    with contextlib.ExitStack() as stack:
        for kind in ("half a head", "half a form", "silent"):
            for _ in range(MANY):
                sent(port, HALVES[kind][0], stack)
        honest = sent(port, POST + f"Content-Length: {LARGE}\r\nConnection: close\r\n\r\n".encode(), stack)
        began_s = time.monotonic()
        for _ in range(16):
            honest.sendall(bytes(LARGE // 16))
            time.sleep(1.5 * PATIENCE_S / 16)
        assert received_from(honest).endswith(f"{LARGE:020d}".encode())
        assert time.monotonic() - began_s > PATIENCE_S


def test_a_burst_before_a_standstill_buys_no_time(port: int) -> None:
    with contextlib.ExitStack() as stack:
        stalled = sent(port, POST + b"Content-Length: 4000000\r\n\r\n" + bytes(2_000_000), stack)
        began_s = time.monotonic()
        assert status_of(stalled.recv(4096)) == b"408"
        assert time.monotonic() - began_s < PATIENCE_S + 3


def test_clients_that_take_no_answer_keep_nobody_waiting_and_are_cut_off(port: int) -> None:
    with contextlib.ExitStack() as stack:
        deaf = [sent(port, b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n", stack) for _ in range(MANY)]
        all_are_answered(port, PATIENCE_S + 1)
        assert all(len(received_from(one)) < 2**26 for one in deaf)


def test_an_answer_that_is_taken_slowly_comes_whole(port: int) -> None:
    with contextlib.ExitStack() as stack:
        client = sent(port, b"GET /much HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", stack)
        received, began_s = 0, time.monotonic()
        while piece := client.recv(1 << 20):
            received += len(piece)
            time.sleep(1.2 * PATIENCE_S / 64)
        assert received > 2**26
        assert time.monotonic() - began_s > PATIENCE_S


def test_silent_connections_make_room_where_a_process_can_hold_no_more(tmp_path: Path) -> None:
    with serving(tmp_path, connections=20) as server, contextlib.ExitStack() as stack:
        for _ in range(40):
            sent(server.port, b"", stack)
        began_s = time.monotonic()
        assert answered(server.port)
        assert time.monotonic() - began_s < 4


def test_a_process_without_a_free_descriptor_lives_on(tmp_path: Path) -> None:
    with serving(tmp_path) as server, contextlib.ExitStack() as stack:
        (process,) = children_of(server.master.pid)
        limit = len(list(Path(f"/proc/{process}/fd").iterdir())) + 10
        resource.prlimit(process, resource.RLIMIT_NOFILE, (limit, limit))
        for _ in range(20):
            sent(server.port, b"", stack)
        began_s = time.monotonic()
        assert answered(server.port)
        assert time.monotonic() - began_s < 4
        assert children_of(server.master.pid) == [process]


def test_a_kept_connection_that_sends_half_a_head_is_cut_off_too(port: int) -> None:
    with contextlib.ExitStack() as stack:
        kept = [sent(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT", stack) for _ in range(MANY)]
        all_are_answered(port, 1)
        for one in kept:
            answers = received_from(one)
            assert (answers.count(b"HTTP/1.1 200"), answers.count(b"HTTP/1.1 408")) == (1, 1)


def test_a_request_in_pieces_is_answered(port: int) -> None:
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(connected(port))
        for piece in (b"POST /bo", b"dy HTTP/1.1\r\nHost: x\r\nContent-Length: 1", b"0\r\n\r", b"\n12345", b"67890"):
            client.sendall(piece)
            time.sleep(0.1)
        assert client.recv(4096).endswith(f"{10:020d}".encode())


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"\x16\x03\x01\x02\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nno number\r\n", 400),
        (b"GET /" + bytes(5_000).replace(b"\0", b"x") + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * heads.MOST_BYTES, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 10_000 + b"\r\n\r\n", 431),
        (POST + b"Transfer-Encoding: magic\r\n\r\n", 501),
    ],
)
def test_what_is_no_request_is_refused_in_the_one_shape(port: int, request_bytes: bytes, status: int) -> None:
    with contextlib.ExitStack() as stack:
        head, _, body = received_from(sent(port, request_bytes, stack)).partition(b"\r\n\r\n")
    problem = json.loads(body)
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Content-Type: application/problem+json" in head
    assert f"X-Request-ID: {problem['request_id']}".encode() in head
    assert (problem["status"], bool(problem["title"]), bool(problem["detail"])) == (status, True, True)


@contextlib.contextmanager
def pairs(count: int) -> Iterator[tuple[list[peer.Peer], list[socket.socket], ThreadPoolExecutor]]:
    """Peers of one process, their other ends, and threads to wait in."""
    places = peer.Places(THREADS)
    with contextlib.ExitStack() as stack:
        ends = [socket.socketpair() for _ in range(count)]
        peers = [stack.enter_context(peer.Peer(near, places)) for near, _ in ends]
        yield peers, [stack.enter_context(far) for _, far in ends], stack.enter_context(ThreadPoolExecutor())


def test_who_has_shown_its_name_waits_where_no_stranger_can() -> None:
    with pairs(2) as (peers, others, pool):
        stranger = pool.submit(peers[0].recv, 9)
        time.sleep(0.2)
        with pytest.raises(peer.Crowded):
            peers[1].recv(9)
        peer.introduce({"gunicorn.socket": peers[1]})
        known = pool.submit(peers[1].recv, 9)
        for other in others:
            other.sendall(b"hello")
        assert (stranger.result(5), known.result(5)) == (b"hello", b"hello")


def test_slow_bodies_leave_half_of_the_turns_of_predictions(settings: Settings) -> None:
    few = settings.model_copy(update={"max_predicts_in_flight": 2})
    with application(few) as app, app.app_context(), pairs(2) as (peers, others, pool), contextlib.ExitStack() as stack:
        for one in peers:
            stack.enter_context(turns.taken({"gunicorn.socket": one}))
        slow = pool.submit(peers[0].recv, 9)
        time.sleep(0.2)
        with pytest.raises(peer.Crowded):
            peers[1].recv(9)
        others[0].sendall(b"hello")
        assert slow.result(5) == b"hello"
