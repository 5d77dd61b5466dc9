"""The socket of a client, in whose hands no thread stays for long: what is read and written takes a bounded time.

A client has some seconds of patience. What it is waited for takes of them, what it moves gives them back, and with
none left it is cut off: silence, a byte a second and a burst before a standstill are all one. An honest upload over a
slow line never gets near.

Only so many threads of a process wait at a time, but for a moment that each request is granted; those who have shown
who they are have places of their own, which no stranger can take.
"""

import contextlib
import errno
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

PATIENCE_S = 10.0
SLOWEST_BYTES_PER_S = 6 << 10  # fifteen uploads side by side through a line of 1 Mbit/s are as fast
GRACE_S = 0.25  # of a request, in which it waits without a place: as for clients that are not slow at all
_PIECE_BYTES = 1 << 16


class SlowClient(Exception):
    """The client sends too little, too slowly."""

    def __init__(self) -> None:
        super().__init__(
            f"The request came too slowly: less than {SLOWEST_BYTES_PER_S >> 10} KiB a second, for {PATIENCE_S:g} s. "
            "Send it again over a faster line."
        )


class Crowded(Exception):
    """More slow clients than this process waits for."""

    retry_after_s = 1

    def __init__(self) -> None:
        super().__init__("This process waits for as many slow clients as it can. Try again in a second.")


class Places:
    """How many threads of one process may wait for clients, beside those that answer."""

    def __init__(self, threads: int) -> None:
        self.known = threading.BoundedSemaphore(max(1, threads // 2))
        self.strangers = threading.BoundedSemaphore(max(1, threads // 8))

    @staticmethod
    def count(threads: int) -> int:
        return max(1, threads // 2) + max(1, threads // 8)


class Peer(socket.socket):
    """A connection that was accepted. Takes the socket's place, which is of no use any more."""

    def __init__(self, sock: socket.socket, places: Places) -> None:
        super().__init__(sock.family, sock.type, sock.proto, sock.detach())
        self._places = places
        self.begin()

    def begin(self) -> None:
        """To be called before each request: the client is a stranger, and has all patience."""
        self._place, self.is_waited_for = self._places.strangers, True
        self._patience_s, self._grace_s = PATIENCE_S, GRACE_S

    def introduce(self, places: threading.BoundedSemaphore | None = None) -> None:
        """The client has shown who it is: it waits where the known do, or in these places."""
        self._place = places or self._places.known

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Raises SlowClient, Crowded; TimeoutError where the client is not waited for."""
        while True:
            try:
                data = super().recv(bufsize, flags | socket.MSG_DONTWAIT)
            except BlockingIOError:
                if not self.is_waited_for:
                    raise TimeoutError from None
                self._wait(select.POLLIN)
            else:
                self._moved(len(data))
                return data

    def send(self, data: Any, flags: int = 0, /) -> int:
        """All of it: whoever calls this counts on a socket that waits."""
        self.sendall(data, flags)
        return len(data)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Raises BrokenPipeError where the client takes too little, too slowly."""
        rest = memoryview(data)
        while rest:
            try:
                sent = super().send(rest, flags | socket.MSG_DONTWAIT)
            except BlockingIOError:
                try:
                    self._wait(select.POLLOUT)
                except (SlowClient, Crowded) as error:
                    raise BrokenPipeError(errno.EPIPE, str(error)) from error
            else:
                self._moved(sent)
                rest = rest[sent:]

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """The number of bytes sent. The kernel would do it alone, and wait for the client without end."""
        file.seek(offset)
        sent = 0
        while piece := file.read(_PIECE_BYTES if count is None else min(_PIECE_BYTES, count - sent)):
            self.sendall(piece)
            sent += len(piece)
        return sent

    def _moved(self, count: int) -> None:
        self._patience_s = min(PATIENCE_S, self._patience_s + count / SLOWEST_BYTES_PER_S)

    def _wait(self, event: int) -> None:
        """Returns when the client has moved. Raises SlowClient, Crowded."""
        grace_s = min(self._grace_s, self._patience_s)
        with self._taking_patience() as began_s:
            is_ready = _is_ready(self, event, grace_s)
        self._grace_s = max(0.0, self._grace_s - (time.monotonic() - began_s)) if is_ready else 0.0
        if not is_ready:
            with self._in_place(event), self._taking_patience():
                is_ready = _is_ready(self, event, self._patience_s)
        if not is_ready:
            raise SlowClient

    @contextlib.contextmanager
    def _taking_patience(self) -> Iterator[float]:
        """Takes what the `with` block lasts of the client's patience; the moment when it begins."""
        began_s = time.monotonic()
        try:
            yield began_s
        finally:
            self._patience_s = max(0.0, self._patience_s - (time.monotonic() - began_s))

    @contextlib.contextmanager
    def _in_place(self, event: int) -> Iterator[None]:
        """A place within the `with` block. An answer to somebody known is not cut short while one may become free."""
        is_patient = event == select.POLLOUT and self._place is not self._places.strangers
        with self._taking_patience():
            has_place = self._place.acquire(timeout=self._patience_s if is_patient else 0)
        if not has_place:
            raise Crowded
        place = self._place
        try:
            yield
        finally:
            place.release()


def introduce(environ: dict[str, Any], places: threading.BoundedSemaphore | None = None) -> None:
    """Notes that the client of this WSGI request has shown who it is; it waits with the known, or in these places."""
    sock = environ.get("gunicorn.socket")
    if isinstance(sock, Peer):
        sock.introduce(places)


def _is_ready(sock: socket.socket, event: int, timeout_s: float) -> bool:
    waiting = select.poll()
    waiting.register(sock, event)
    return bool(waiting.poll(max(0.0, 1000 * timeout_s)))
