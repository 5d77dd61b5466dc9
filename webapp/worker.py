"""Gunicorn's worker with threads, in which a thread stays with a connection whose next request comes at once.

Gunicorn's own hands each kept connection back to the main thread, which waits for it beside all others: two changes of
thread and six system calls for each request. A client that asks without a pause is faster, and cheaper, where the
thread that answered it waits a moment itself. Half of the threads at most stay so; the others are for everybody else:
no number of busy clients keeps a probe of `/health` waiting.
"""

import select
import threading
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

STAYS_S = 0.1


class Worker(ThreadWorker):
    def init_process(self) -> None:
        self._may_stay = threading.BoundedSemaphore(self.cfg.threads // 2)
        super().init_process()

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
    if conn.parser.unreader.buf.getvalue():  # sent together with the request before
        return True
    waiting = select.poll()
    waiting.register(conn.sock, select.POLLIN)
    return bool(waiting.poll(1000 * STAYS_S))
