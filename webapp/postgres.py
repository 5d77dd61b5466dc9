"""Connections to PostgreSQL that wait for a bounded time: a server that has frozen is one that is away.

A server that is stopped, or whose disk hangs, accepts connections and never answers; its own limits do not run then,
and the network sees nothing wrong. So the client counts, too: for a connection, for the question whether a pooled one
still lives, and for each statement.
"""

import math
import threading
import time
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from sqlalchemy import event, make_url
from sqlalchemy.engine import Dialect, Engine

CONNECT_S = 3
PING_S = 3.0
WEB_STATEMENT_S = 15.0  # of a request, for which somebody waits
JOB_STATEMENT_S = 300.0
AWAY_S = 2.0  # after a wait in vain nobody waits for so long, and then one
_GRACE_S = 1.0  # in which the server may end a statement itself, and keep the connection
_NETWORK = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}


def connect_args(url: str, statement_s: float | None) -> dict[str, Any]:
    """What SQLAlchemy hands to the driver; nothing for SQLite. What the URL says itself stays.

    Without `statement_s` a statement may take as long as it likes.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "postgresql":
        return {}
    usual = {"connect_timeout": CONNECT_S, **_NETWORK}
    return {"statement_s": statement_s} | {name: one for name, one in usual.items() if name not in parsed.query}


class _Server:
    """Whether a server has just kept somebody waiting in vain."""

    def __init__(self) -> None:
        self._lock, self._until_s, self._is_away = threading.Lock(), 0.0, False

    def check(self) -> None:
        """Returns for whoever may try; where the server is away that is one at a time. Raises OperationalError."""
        with self._lock:
            now_s = time.monotonic()
            if self._is_away and now_s < self._until_s:
                raise psycopg.OperationalError("The server did not answer a moment ago.")
            self._until_s = now_s + CONNECT_S + AWAY_S

    def note(self, is_away: bool) -> None:
        with self._lock:
            self._is_away, self._until_s = is_away, time.monotonic() + AWAY_S


class PatientConnection(psycopg.Connection[Any]):
    """Ends where the server does not answer in time."""

    server: _Server
    statement_s: float | None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """psycopg's hook, through which all passes. Outside of transactions there are but SQLAlchemy's pings."""
        if self.autocommit:
            limit_s = PING_S
        else:
            limit_s = math.inf if self.statement_s is None else self.statement_s + _GRACE_S
        until_s = time.monotonic() + limit_s
        try:
            return super().wait(gen, interval, min(limit_s, timeout or math.inf))
        except psycopg.OperationalError:
            if time.monotonic() >= until_s:
                self.server.note(is_away=True)
                self.pgconn.finish()
            raise


_servers: WeakKeyDictionary[Dialect, _Server] = WeakKeyDictionary()


@event.listens_for(Engine, "do_connect")
def _connect(dialect: Dialect, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> PatientConnection | None:
    """A connection with the limits of `connect_args`, where the engine was made with them."""
    if "statement_s" not in parameters:
        return None
    given = dict(parameters)
    statement_s = given.pop("statement_s")
    server = _servers.setdefault(dialect, _Server())
    server.check()
    try:
        connection = PatientConnection.connect(**given, autocommit=True)
    except psycopg.errors.ConnectionTimeout:
        server.note(is_away=True)
        raise
    server.note(is_away=False)
    connection.server, connection.statement_s = server, statement_s
    connection.execute(f"SET statement_timeout = {int(1000 * (statement_s or 0))}".encode())
    connection.autocommit = False
    return connection
