"""Gunicorn's worker with threads: no thread for a client that is slow, one that stays for a client that is quick.

A connection gets a thread once the head of its request is here, and a small body with it; until then the main thread
waits for it beside all others, and not for long. The rest of a body is read by a thread, within bounds (`webapp.peer`).

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
import errno
import math
import select
import selectors
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn.http.errors import LimitRequestHeaders, ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker

from webapp import heads, held, refusals, traffic
from webapp.peer import Peer, Places, SlowClient

HEAD_S = 10.0  # from the first wait for a request until its head, and a small body, must be here
FULL_S = 1.0  # the same where the process can hold no more connections
GOES_S = 2.0  # a silent connection, once the worker is to end
STAYS_S = 0.1
LEAVES_S = 0.02  # a process that holds fewer connections, and is too busy to take one, is not waited for
TAKES_S = 1.0  # after a wait in vain it takes all that comes, for so long
LINGERS_S = 2.0
_PAUSE_S = 0.0005
_NO_DESCRIPTOR_S = 0.01
_DRAINED_BYTES = 1 << 16
_PASSED_OVER_BYTES = 32 << 20  # a large image, or two pieces of an upload
_WANT_OF_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Worker(ThreadWorker):
    def init_process(self) -> None:
        self._may_stay = threading.BoundedSemaphore(self.cfg.threads // 2)
        self._takes_until_s = 0.0
        self._places = Places(self.cfg.threads)
        self._coming: dict[TConn, float] = {}  # since when their heads are waited for, the longest first
        self._lingering: dict[socket.socket, tuple[float, int]] = {}  # until when, and for how many bytes more
        self._lacks_room = False
        super().init_process()

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """The threads that answer, and beside them those that may wait for slow clients."""
        return ThreadPoolExecutor(self.cfg.threads + Places.count(self.cfg.threads))

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
        self._take(listener)
        self._tell()

    def _take(self, listener: socket.socket) -> None:
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in _WANT_OF_ROOM:
                self._lacks_room = True
                time.sleep(_NO_DESCRIPTOR_S)  # the listener calls again at once
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        self.enqueue_req(TConn(self.cfg, Peer(sock, self._places), client, listener.getsockname()))

    def enqueue_req(self, conn: TConn) -> None:
        """Gives the connection a thread once its request has come."""
        if self.cfg.is_ssl:
            super().enqueue_req(conn)
        else:
            conn.init()
            conn.data_ready = True
            self._hear(conn)

    def _hear(self, conn: TConn) -> None:
        """Takes what has come of a request, and waits for the rest beside all others."""
        try:
            has_come = heads.has_come(conn)
        except OSError:
            self._drop(conn)
        except LimitRequestHeaders as error:
            self._refuse(conn, error)
        else:
            if has_come:
                self._no_longer_coming(conn)
                super().enqueue_req(conn)
            elif conn not in self._coming:
                self._coming[conn] = time.monotonic()
                self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._hear_on, conn))

    def _hear_on(self, conn: TConn, _sock: Any) -> None:
        if conn in self._coming:  # and was not ended by what came before it
            self._hear(conn)

    def _no_longer_coming(self, conn: TConn) -> None:
        if self._coming.pop(conn, None) is not None:
            self.poller.unregister(conn.sock)

    def _drop(self, conn: TConn) -> None:
        self._no_longer_coming(conn)
        self.nr_conns -= 1
        conn.close()
        self._tell()

    def _refuse(self, conn: TConn, error: Exception) -> None:
        self._no_longer_coming(conn)
        self.handle_error(None, conn.sock, conn.client, error)
        self._linger(conn.sock)

    def _cut_off(self, patience_s: float) -> None:
        """Ends connections whose request does not come for so long: with a word where it has begun."""
        now_s = time.monotonic()
        for conn, since_s in [*self._coming.items()]:
            if now_s - since_s > patience_s:
                if heads.has_begun(conn):
                    self._refuse(conn, SlowClient())
                else:
                    self._drop(conn)
            elif self.alive:
                break  # all others are younger
            elif now_s - since_s > GOES_S and not heads.has_begun(conn):
                self._drop(conn)

    def finish_request(self, conn: TConn, fs: Any) -> None:
        is_over = not fs.cancelled() and fs.exception() is None and not fs.result()
        if is_over and not self.cfg.is_ssl:
            self._linger(conn.sock)
        else:
            super().finish_request(conn, fs)
        self._tell()

    def _linger(self, sock: socket.socket) -> None:
        """Tells the client that nothing more comes, and lets the main loop wait until it has closed, too."""
        self._lingering[sock] = time.monotonic() + LINGERS_S, _PASSED_OVER_BYTES
        try:
            sock.setblocking(False)
            sock.shutdown(socket.SHUT_WR)
            self.poller.register(sock, selectors.EVENT_READ, self._drain)
        except (OSError, KeyError, ValueError):  # closed already: by the client, or by Gunicorn after an error
            self._close(sock)

    def _drain(self, sock: socket.socket) -> None:
        """Passes over what the client sends on; the end where it has closed, or sends too much.

        To end before would tell a client that sends a large body nothing of the answer but that the connection broke.
        """
        try:
            passed_over = len(socket.socket.recv(sock, _DRAINED_BYTES, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return
        except OSError:
            passed_over = 0
        until_s, left = self._lingering[sock]
        self._lingering[sock] = until_s, left - passed_over
        if not passed_over or left <= passed_over:
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
        is_full, self._lacks_room = self._lacks_room or self.nr_conns >= self.worker_connections, False
        self._cut_off(FULL_S if is_full else HEAD_S)
        for sock in [sock for sock, (until_s, _) in self._lingering.items() if until_s < time.monotonic()]:
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

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """Gunicorn's hook: whether a next request can follow. No body that nobody wanted is waited for."""
        if self.cfg.is_ssl or conn.is_http2:
            return bool(super()._keepalive_after(conn, keepalive))
        conn.sock.is_waited_for = False
        try:
            is_over = keepalive and conn.parser.finish_body(max_bytes=_DRAINED_BYTES)
        except ParseException:  # in the rest of a body that was answered already
            is_over = False
        conn.sock.begin()
        return bool(is_over)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Gunicorn's hook: answers what never became a request of the application, or broke it."""
        traffic.count_unread(self.wsgi, refusals.answer(client, addr, exc))


def _comes_soon(conn: TConn) -> bool:
    """Whether the next request is here, whole; what is not goes back to the main thread."""
    try:
        if heads.has_come(conn):
            return True
        return not heads.has_begun(conn) and _is_readable(conn.sock, STAYS_S) and heads.has_come(conn)
    except (OSError, LimitRequestHeaders):
        return False  # as it will be found there


def _is_readable(sock: socket.socket, timeout_s: float) -> bool:
    waiting = select.poll()
    waiting.register(sock, select.POLLIN)
    return bool(waiting.poll(1000 * timeout_s))
