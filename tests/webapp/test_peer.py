"""The socket of a client: what it is waited for is bounded, and who is honest gets all of an answer."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.factories import Auth
from webapp import peer
from webapp.peer import Peer, Places

MUCH = bytes(1_500_000)


@pytest.fixture
def pair() -> Iterator[tuple[Peer, socket.socket]]:
    ours, theirs = socket.socketpair()
    with Peer(ours, Places(4)) as own, theirs:
        yield own, theirs


def test_all_who_are_known_get_their_answers_whole_however_many_take_them_at_once() -> None:
    places, taken = Places(4), []  # two places for the known

    def take(theirs: socket.socket) -> None:
        count = 0
        with theirs:
            while piece := theirs.recv(1 << 16):
                count += len(piece)
                time.sleep(0.03)  # about 2 MB a second
        taken.append(count)

    def answer(own: Peer) -> None:
        with own:
            own.sendall(MUCH)

    threads = []
    for _ in range(6):
        ours, theirs = socket.socketpair()
        own = Peer(ours, places)
        own.introduce()
        threads += [threading.Thread(target=answer, args=(own,)), threading.Thread(target=take, args=(theirs,))]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert taken == 6 * [len(MUCH)]


def test_a_moments_wait_takes_no_place(pair: tuple[Peer, socket.socket]) -> None:
    own, theirs = pair
    assert own._places.strangers.acquire(blocking=False)  # the only one
    threading.Timer(0.05, theirs.sendall, [b"late"]).start()
    assert own.recv(10) == b"late"
    with pytest.raises(peer.Crowded):
        own.recv(10)


def test_what_gunicorn_sends_by_itself_is_bounded_too(
    pair: tuple[Peer, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The word to go on, which a client asks for and may never read."""
    own, _ = pair
    monkeypatch.setattr(peer, "PATIENCE_S", 0.3)
    own.begin()
    began_s = time.monotonic()
    with pytest.raises(BrokenPipeError) as raised:
        own.send(100_000 * b"HTTP/1.1 100 Continue\r\n\r\n")
    assert raised.value.errno  # by which Gunicorn knows that the client is to blame
    assert time.monotonic() - began_s < 3


def test_somebody_who_is_logged_in_is_no_stranger_where_everybody_may_look(
    app: Flask, client: FlaskClient, auth: Auth, pair: tuple[Peer, socket.socket]
) -> None:
    own, _ = pair
    for is_known in (False, True):
        if is_known:
            auth.login("viewer")
        own.begin()
        client.get("/static/icon.svg", environ_overrides={"gunicorn.socket": own}).close()
        assert (own._place is own._places.known) == is_known
