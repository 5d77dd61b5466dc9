"""The queue in front of the model: bounded, so that a process that is asked too much says so at once."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from flask import Flask, current_app

from webapp.errors import Unavailable
from webapp.peer import introduce
from webapp.predictions.journal import journal
from webapp.predictions.tally import BUSY, OCCUPIED
from webapp.settings import Settings


class Busy(Unavailable):
    retry_after_s = 1


def init_app(app: Flask) -> None:
    count = places(app.extensions["settings"])
    app.extensions["predict_turns"] = threading.BoundedSemaphore(count)
    app.extensions["slow_predicts"] = threading.BoundedSemaphore(max(1, count // 2))


def places(settings: Settings) -> int:
    """How many requests one process answers at once: at least one thread is left for pages and for `/health`."""
    return min(settings.max_predicts_in_flight, max(1, settings.web_threads - 1))


@contextlib.contextmanager
def taken(environ: dict[str, Any] | None = None) -> Iterator[None]:
    """A place within the `with` block, to be taken before the body is read. Raises Busy where none is free.

    With the `environ` of the request its body may come slowly only in half of the places.
    """
    turns: threading.BoundedSemaphore = current_app.extensions["predict_turns"]
    counts = journal()
    if not turns.acquire(blocking=False):
        counts.count(BUSY)
        limit = places(current_app.extensions["settings"])
        raise Busy(
            f"This process answers {limit} requests already (APP_MAX_PREDICTS_IN_FLIGHT). Try again in a second."
        )
    taken_s = time.perf_counter()
    try:
        introduce(environ or {}, current_app.extensions["slow_predicts"])
        yield
    finally:
        turns.release()
        counts.count(OCCUPIED, round(1e6 * (time.perf_counter() - taken_s)))
