"""The janitor: `python -m jobs.janitor`. Frees rows of lost workers, leads searches on, rings, removes garbage.

Any number may run: every change is a compare-and-set, and ringing twice is harmless.
"""

import argparse
import datetime
import logging
import signal
import threading
import time

from flask import Flask, current_app
from sqlalchemy import or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from jobs.recovery import KINDS, release_lost
from webapp import create_app, objects, postgres, queue
from webapp.batches import service as batches
from webapp.models import db, now
from webapp.resumable import service as resumable
from webapp.searches import service as searches
from webapp.storage import StoreAway
from webapp.studies import pooling

log = logging.getLogger(__name__)
ROUND_INTERVAL_S = 5.0
RING_INTERVAL_S = 15.0
MOST_RUNG = 10_000  # rows of one kind in one round
SWEEP_INTERVAL_S = 3600.0
GARBAGE_AGE_S = 24 * 3600.0


def free_lost() -> None:
    """Rows whose owner has been silent for too long go back to their queue."""
    settings = current_app.extensions["settings"]
    for kind in KINDS:
        silent = kind.heartbeat_at < now() - datetime.timedelta(seconds=settings.heartbeat_timeout_s)
        lost = select(kind.id, kind.attempt_token).where(kind.attempt_token.is_not(None), silent)
        for row_id, token in db.session.execute(lost).all():
            release_lost(kind, row_id, token, settings.max_attempts, silent)


def ring_waiting() -> None:
    """Each row that waits has a job in Redis, also after Redis lost everything."""
    for kind, task in KINDS.items():
        unheard = or_(kind.rung_at.is_(None), kind.rung_at < now() - datetime.timedelta(seconds=RING_INTERVAL_S))
        waiting = select(kind.id).where(kind.status == kind.WAITING, kind.attempt_token.is_(None), unheard)
        longest_unheard = waiting.order_by(kind.rung_at.is_not(None), kind.rung_at, kind.id).limit(MOST_RUNG)
        row_ids = db.session.scalars(longest_unheard).all()
        if heard := queue.ring_each(task, row_ids):
            db.session.execute(update(kind).where(kind.id.in_(heard)).values(rung_at=now()))
            db.session.commit()


def sweep() -> None:
    """Removes what is old, objects that no row names, and drafts; makes pooled scores that a lost worker did not."""
    pooling.pool_missed()
    resumable.remove_expired()
    batches.forget_old()
    store, used = current_app.extensions["store"], objects.in_use()
    for address, age_s in store.addresses():
        if age_s > GARBAGE_AGE_S and address not in used:
            store.delete(address)
            log.info("garbage_removed", extra={"sha256": address})
    store.remove_drafts(GARBAGE_AGE_S)


def round_once(app: Flask, with_sweep: bool = False) -> None:
    """One round. A database or a store that does not answer is met again in the next one."""
    with app.app_context():
        try:
            free_lost()
            searches.advance_all()
            ring_waiting()
            if with_sweep:
                sweep()
        except (SQLAlchemyError, StoreAway) as error:
            db.session.rollback()
            log.warning("part_unreachable", extra={"error_class": type(error).__name__})


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Frees lost rows, rings for waiting ones, removes garbage.")
    parser.add_argument("--once", action="store_true", help="one round with a sweep, then end")
    parser.add_argument("--no-sweep", action="store_true", help="leave garbage to another one")
    options = parser.parse_args(arguments)
    app = create_app(statement_s=postgres.JOB_STATEMENT_S)
    if options.once:
        round_once(app, with_sweep=True)
        return
    stop = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop.set())
    swept_s = float("-inf")
    while not stop.is_set():
        is_due = not options.no_sweep and time.monotonic() - swept_s > SWEEP_INTERVAL_S
        round_once(app, with_sweep=is_due)
        swept_s = time.monotonic() if is_due else swept_s
        stop.wait(ROUND_INTERVAL_S)


if __name__ == "__main__":
    main()
