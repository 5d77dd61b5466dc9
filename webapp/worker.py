"""Gunicorn's worker with threads, in which a thread stays with a connection whose next request comes at once.

Gunicorn's own hands each kept connection back to the main thread, which waits for it beside all others: two changes of
thread and six system calls for each request. A client that asks without a pause is faster, and cheaper, where the
thread that answered it waits a moment itself. Half of the threads at most stay so; the others are for everybody else:
no number of busy clients keeps a probe of `/health` waiting.

A kept connection stays in the process that took it, and without a rule whoever wakes first takes most of those that
come together: its clients would wait while another process has nothing to do. So each leaves a new connection for a
moment to one that holds fewer.

A connection that ends after its answer lingers until the client has closed it too, else the answer might be cut short.
Gunicorn's own waits for that in the main thread, up to two seconds, in which the process takes and answers nothing new;
here it waits beside all others.
"""

import contextlib
import math
import select
import selectors
import socket
import threading
import time
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from webapp import held

STAYS_S = 0.1
LEAVES_S = 0.02  # a process that holds fewer connections, and is too busy to take one, is not waited for
TAKES_S = 1.0  # after a wait in vain it takes all that comes, for so long
LINGERS_S = 2.0
_PAUSE_S = 0.0005
_DRAINED_BYTES = 1 << 16


class Worker(ThreadWorker):
    def init_process(self) -> None:
        self._may_stay = threading.BoundedSemaphore(self.cfg.threads // 2)
        self._takes_until_s = 0.0
        self._lingering: dict[socket.socket, float] = {}  # until when
        super().init_process()

    def run(self) -> None:
        try:
            super().run()
        finally:
            held.tell(self.age, math.inf)

    def accept(self, listener: socket.socket) -> None:
        """Takes a new connection, unless another process that holds fewer takes it first."""
        until_s = time.monotonic() + LEAVES_S
        while until_s > self._takes_until_s and self.nr_conns > held.fewest():
            if time.monotonic() >= until_s:
                self._takes_until_s = until_s + TAKES_S
                break
            time.sleep(_PAUSE_S)
            if not _is_readable(listener, 0):
                return
        super().accept(listener)
        self._tell()

    def finish_request(self, conn: TConn, fs: Any) -> None:
        is_over = not fs.cancelled() and fs.exception() is None and not fs.result()
        if is_over and not self.cfg.is_ssl:
            self._linger(conn.sock)
        else:
            super().finish_request(conn, fs)
        self._tell()

    def _linger(self, sock: socket.socket) -> None:
        """Tells the client that nothing more comes, and lets the main loop wait until it has closed, too."""
        self._lingering[sock] = time.monotonic() + LINGERS_S
        try:
            sock.setblocking(False)
            sock.shutdown(socket.SHUT_WR)
            self.poller.register(sock, selectors.EVENT_READ, self._drain)
        except (OSError, KeyError, ValueError):  # closed already: by the client, or by Gunicorn after an error
            self._close(sock)

    def _drain(self, sock: socket.socket) -> None:
        """Passes over what the client sends on; the end where it has closed, or sends too much."""
        try:
            passed_over = len(sock.recv(_DRAINED_BYTES))
        except BlockingIOError:
            return
        except OSError:
            passed_over = 0
        if passed_over in (0, _DRAINED_BYTES):
            self._close(sock)

    def _close(self, sock: socket.socket) -> None:
        del self._lingering[sock]
        self.nr_conns -= 1
        with contextlib.suppress(KeyError, ValueError):
            self.poller.unregister(sock)
        with contextlib.suppress(OSError):
            sock.close()

    def notify(self) -> None:
        """Gunicorn's main loop calls this at least every second."""
        super().notify()
        for sock in [sock for sock, until_s in self._lingering.items() if until_s < time.monotonic()]:
            self._close(sock)
        self._tell()

    def _tell(self) -> None:
        held.tell(self.age, self.nr_conns if self.alive else math.inf)

    def is_parent_alive(self) -> bool:
        """Whether the master lives; without it the worker ends, and no thread stays."""
        is_alive = bool(super().is_parent_alive())
        if not is_alive:
            self.alive = False
        return is_alive

    def handle(self, conn: TConn) -> Any:
        """Whether the connection is kept, once no request comes at once."""
        is_kept = super().handle(conn)
        if is_kept is not True or conn.is_http2 or self.cfg.is_ssl or not self._may_stay.acquire(blocking=False):
            return is_kept
        try:
            while is_kept is True and self.alive and _comes_soon(conn):
                is_kept = super().handle(conn)
        finally:
            self._may_stay.release()
        return is_kept


def _comes_soon(conn: TConn) -> bool:
    is_here = bool(conn.parser.unreader.buf.getvalue())  # sent together with the request before
    return is_here or _is_readable(conn.sock, STAYS_S)


def _is_readable(sock: socket.socket, timeout_s: float) -> bool:
    waiting = select.poll()
    waiting.register(sock, select.POLLIN)
    return bool(waiting.poll(1000 * timeout_s))
