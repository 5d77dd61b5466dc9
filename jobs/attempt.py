"""One worker's hold on one row: claimed by compare-and-set, kept alive by a heartbeat, fenced by its token.

Liveness, progress and cancellation travel together, twice a second, so they cannot disagree. A thread of their own
carries them: one step of a large network, or an export, may last longer than a heartbeat may be late. Nor does a
person who cancels wait for such a step: where the work does not listen, the thread writes the end and ends the process.
"""

import contextlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

from flask import Flask
from rq import get_current_job
from sqlalchemy import select, update
from sqlalchemy.exc import SQLAlchemyError

from ml.errors import Cancelled, Superseded
from webapp.models import Attempted, Base, db, now

log = logging.getLogger(__name__)
BEAT_INTERVAL_S = 0.5
PATIENCE_S = 0.7  # from the moment when cancelling is seen until the process is ended
STALL_LIMIT_S = 1800.0  # a process that reports nothing for so long hangs


class HandedOver(Exception):
    """The worker must stop; the row goes back to the queue and another worker goes on."""


class AttemptedRow(Attempted, Base):
    """For the type checker: a row of any kind that workers work on."""

    __abstract__ = True
    id: Any
    status: Any


class Attempt:
    """The right to write to a row for as long as its token stands there."""

    def __init__(self, app: Flask, kind: type[AttemptedRow], row_id: int, token: str) -> None:
        self.app, self.kind, self.row_id, self.token = app, kind, row_id, token
        self._progress: dict[str, Any] = {}
        self._stop: type[Exception] | None = None
        self._reported_s = time.monotonic()
        self._cancelled_s: float | None = None
        self._ended = threading.Event()

    @classmethod
    def claim(cls, app: Flask, kind: type[AttemptedRow], row_id: int) -> "Attempt | None":
        """The attempt, or None where the row does not wait: it is taken, over, or gone."""
        job = get_current_job()
        token = job.id if job else secrets.token_hex(8)
        statement = (
            update(kind)
            .where(kind.id == row_id, kind.status == kind.WAITING, kind.attempt_token.is_(None))
            .values(
                status=kind.WORKING,
                attempt_token=token,
                attempts=kind.attempts + 1,
                started_at=now(),
                heartbeat_at=now(),
                phase="starting",
                **kind.between_attempts(),
            )
        )
        won = _changed(statement)
        db.session.commit()
        return cls(app, kind, row_id, token) if won else None

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Keeps the heartbeat going within the `with` block."""
        thread = threading.Thread(target=self._beat, name=f"heartbeat-{self.token}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def report(self, **progress: Any) -> None:
        """Notes progress, to be written with the next heartbeat. Raises Cancelled, Superseded, HandedOver."""
        self._progress |= progress
        self._reported_s = time.monotonic()
        if self._stop:
            raise self._stop(f"attempt {self.token}")

    def hand_over(self) -> None:
        """Makes the next `report` raise HandedOver; for a signal handler."""
        self._stop = self._stop or HandedOver

    def save(self, **values: Any) -> None:
        """Writes columns at once and commits, with whatever else the session holds. Raises Superseded."""
        if not _changed(self._mine().values(heartbeat_at=now(), **values)):
            db.session.rollback()
            raise Superseded(f"attempt {self.token}")
        db.session.commit()

    def end(self, status: str, **values: Any) -> None:
        """Moves the row to a final status and commits, with whatever else the session holds.

        Raises Cancelled where a person asked to stop before this moment, Superseded where another owns the row.
        """
        allowed = (self.kind.WORKING,) if status == "succeeded" else (self.kind.WORKING, "cancelling")
        statement = self._mine().where(self.kind.status.in_(allowed))
        if _changed(statement.values(status=status, attempt_token=None, finished_at=now(), **{"phase": "", **values})):
            db.session.commit()
            return
        db.session.rollback()
        raise (Cancelled if self._status() == "cancelling" else Superseded)(f"attempt {self.token}")

    def release(self) -> None:
        """Gives the row back to the queue, or ends it where a person asked to stop."""
        _changed(
            self._mine()
            .where(self.kind.status == "cancelling")
            .values(status="cancelled", attempt_token=None, finished_at=now())
        )
        _changed(
            self._mine()
            .where(self.kind.status == self.kind.WORKING)
            .values(
                status=self.kind.WAITING,
                attempt_token=None,
                rung_at=None,
                phase="waiting for a worker",
                **self.kind.between_attempts(),
            )
        )
        db.session.commit()

    def _mine(self) -> Any:
        return update(self.kind).where(self.kind.id == self.row_id, self.kind.attempt_token == self.token)

    def _status(self) -> str | None:
        return db.session.scalar(
            select(self.kind.status).where(self.kind.id == self.row_id, self.kind.attempt_token == self.token)
        )

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_INTERVAL_S):
            if time.monotonic() - self._reported_s > STALL_LIMIT_S:
                log.error("attempt_stalled", extra={"kind": self.kind.__tablename__, "row_id": self.row_id})
                os._exit(1)  # the worker reports the loss; nothing softer ends a thread that hangs
            with self.app.app_context():
                try:
                    self._beat_once()
                    if self._is_unheard():
                        self._end_at_once()
                except SQLAlchemyError:
                    db.session.rollback()
                    log.warning("heartbeat_failed", extra={"kind": self.kind.__tablename__, "row_id": self.row_id})

    def _is_unheard(self) -> bool:
        """Whether the work goes on although a person cancelled it a while ago."""
        has_waited = self._cancelled_s is not None and time.monotonic() - self._cancelled_s > PATIENCE_S
        return has_waited and not self._ended.is_set()

    def _end_at_once(self) -> None:
        """Ends row and process: the work is in the middle of a long step, whose result nobody wants any more."""
        with contextlib.suppress(Superseded):
            self.end("cancelled")
        log.info("cancelled_within_a_step", extra={"kind": self.kind.__tablename__, "row_id": self.row_id})
        os._exit(1)  # the worker clears up after it as after any loss

    def _beat_once(self) -> None:
        _changed(self._mine().values(heartbeat_at=now(), **self._progress))
        db.session.commit()
        status = self._status()
        if status is None:
            self._stop = Superseded
        elif status == "cancelling":
            self._stop = Cancelled
            self._cancelled_s = self._cancelled_s or time.monotonic()


def _changed(statement: Any) -> bool:
    result: Any = db.session.execute(statement.execution_options(synchronize_session=False))
    return bool(result.rowcount == 1)
