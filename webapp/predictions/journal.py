"""The journal of answers: a thread writes the rows together, so that no request waits for the database. It also tells
Redis what was counted.

What a process has answered is in the database within half a second, and before the process stops; a process that is
killed loses no more. While the database is away the rows wait; when too many do, `add` refuses.
"""

import atexit
import logging
import os
import threading
from collections.abc import Sequence
from typing import Any

from flask import Flask, current_app
from sqlalchemy import insert
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from webapp.errors import Unavailable
from webapp.models import Prediction, db
from webapp.predictions.tally import AWAY_S, Tally

log = logging.getLogger(__name__)
GATHER_S = 0.25  # rows that come within this time are written together
RETRY_S = 1.0
STOP_WAIT_S = 10.0
MAX_WAITING = 20_000
_AT_ONCE = 500
REFUSED = (DataError, IntegrityError)  # another attempt would end alike, and rows behind it must not wait for ever

_INSERT = insert(Prediction.__table__)  # type: ignore[arg-type]  # of the table: rows as objects would cost twice the time

Values = dict[str, Any]


class Journal:
    """One for each process; its thread begins with the first row or count, and so after a fork."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._begin()

    def _begin(self) -> None:
        self._process, self.tally = os.getpid(), Tally(self._app.extensions["redis"])
        self._waiting: list[Values] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def add(self, rows: Sequence[Values]) -> None:
        """Takes the values of new rows. Raises Unavailable where too many wait for the database."""
        if self._process != os.getpid():
            self._begin()  # what the parent has is the parent's to write
        with self._changed:
            if len(self._waiting) + len(rows) > MAX_WAITING:
                raise Unavailable("The database is away, and no more answers can be remembered. Try again soon.")
            self._waiting += rows
            self._wake()

    def count(self, name: str, amount: int = 1) -> None:
        """Takes what Redis is to be told within half a second."""
        if self._process != os.getpid():
            self._begin()
        if self.tally.count(name, amount):
            with self._changed:
                self._wake()

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_on, name="journal", daemon=True)
            self._thread.start()
            atexit.register(self.stop)
        self._changed.notify_all()

    def flush(self, timeout_s: float = STOP_WAIT_S) -> bool:
        """Whether everything that was added is in the database, after at most so long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout_s)

    def stop(self) -> None:
        """Writes what waits, without another chance for a database that is away."""
        with self._changed:
            self._stopping.set()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(STOP_WAIT_S)
        if self._waiting:
            log.error("predictions_lost", extra={"rows": len(self._waiting)})

    def _write_on(self) -> None:
        while True:
            with self._changed:  # a Redis that was away is asked again also where nothing more happens
                self._changed.wait_for(lambda: self._has_work or self._stopping.is_set(), AWAY_S)
            if self._stopping.is_set() and not self._has_work:
                return
            self._stopping.wait(GATHER_S)
            is_written = not self._waiting or self._write()
            if self.tally.has_news:
                self.tally.tell()
            if not is_written and self._pause():
                return

    @property
    def _has_work(self) -> bool:
        return bool(self._waiting) or self.tally.has_news

    def _pause(self) -> bool:
        """Waits for a database that is away; whether the process stops meanwhile."""
        return self._stopping.wait(RETRY_S)

    def _write(self) -> bool:
        """Whether the first of the waiting rows are written, or given up because the database refuses them."""
        rows = self._waiting[:_AT_ONCE]
        with self._app.app_context():
            try:
                self._insert(rows)
            except SQLAlchemyError as error:
                db.session.rollback()
                log.error("predictions_wait", extra={"rows": len(self._waiting), "reason": type(error).__name__})
                return False
        with self._changed:
            del self._waiting[: len(rows)]
            self._changed.notify_all()
        return True

    def _insert(self, rows: list[Values]) -> None:
        try:
            db.session.execute(_INSERT, rows)
            db.session.commit()
        except REFUSED:
            db.session.rollback()
            for row in rows:
                self._insert_alone(row)

    def _insert_alone(self, row: Values) -> None:
        """One row; it is dropped where the database cannot keep it: a version or a person that it names is gone."""
        try:
            db.session.execute(_INSERT, [row])
            db.session.commit()
        except REFUSED:
            db.session.rollback()
            log.error("prediction_dropped", extra={"version": row["version_id"], "prediction_of": row["request_id"]})


def init_app(app: Flask) -> None:
    app.extensions["journal"] = Journal(app)


def journal() -> Journal:
    found: Journal = current_app.extensions["journal"]
    return found
