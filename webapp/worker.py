"""Gunicorn's worker with threads, in which a thread stays with a connection whose next request comes at once.

Gunicorn's own hands each kept connection back to the main thread, which waits for it beside all others: two changes of
thread and six system calls for each request. A client that asks without a pause is faster, and cheaper, where the
thread that answered it waits a moment itself. Half of the threads at most stay so; the others are for everybody else:
no number of busy clients keeps a probe of `/health` waiting.

A kept connection stays in the process that took it, and without a rule whoever wakes first takes most of those that
come together: its clients would wait while another process has nothing to do. So each leaves a new connection for a
moment to one that holds fewer.
"""

import math
import select
import socket
import threading
import time
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from webapp import held

STAYS_S = 0.1
LEAVES_S = 0.02  # a process that holds fewer connections, and is too busy to take one, is not waited for
_PAUSE_S = 0.0005


class Worker(ThreadWorker):
    def init_process(self) -> None:
        self._may_stay = threading.BoundedSemaphore(self.cfg.threads // 2)
        super().init_process()

    def accept(self, listener: socket.socket) -> None:
        """Takes a new connection, unless another process that holds fewer takes it first."""
        until_s = time.monotonic() + LEAVES_S
        while self.nr_conns > held.fewest() and time.monotonic() < until_s:
            time.sleep(_PAUSE_S)
            if not _is_readable(listener, 0):
                return
        super().accept(listener)
        self._tell()

    def finish_request(self, conn: TConn, fs: Any) -> None:
        super().finish_request(conn, fs)
        self._tell()

    def notify(self) -> None:
        """Gunicorn's main loop calls this at least every second."""
        super().notify()
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
