"""What was asked and how it was answered: each request is counted, and leaves a line in the log.

Refusals too, whoever made them: a limit, the guard, the router, a view. What never became a request of the application,
such as a header that cannot be read, is counted as well, and `webapp.refusals` has its line.
"""

import functools
import logging
import time

from flask import Flask, Response, g, request

from webapp import logs
from webapp.predictions.journal import Journal, journal
from webapp.predictions.tally import REQUEST
from webapp.security import Actor

log = logging.getLogger(__name__)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
PREDICT = frozenset({"api.predict", "api.predict_short"})
FILES = frozenset({"static", "bootstrap.static", "assets.vendor"})
_PARTS = {"health": "health", "metrics": "metrics", "resumable": "uploads"}  # by blueprint; the others are pages


def init_app(app: Flask) -> None:
    app.after_request(_note)


def _note(response: Response) -> Response:
    journal().count(_name(request.endpoint, request.method, response.status_code))
    if log.isEnabledFor(logging.INFO):
        logs.gathered.add(_told(response))
    return response


def count_unread(app: object, status: int) -> None:
    """Counts what the worker refused before it was a request of the application."""
    found: Journal | None = getattr(app, "extensions", {}).get("journal")
    if found:
        found.count(f"{REQUEST}unread/other/{status}")


def _told(response: Response) -> dict[str, object]:
    """Ids and figures alone: the endpoint is not the address, which may carry names."""
    who: Actor | None = g.get("actor")
    return {
        "event": "request_done",
        "logger": log.name,
        "request_id": g.request_id,
        "endpoint": request.endpoint,
        "method": request.method if request.method in METHODS else "other",
        "status": response.status_code,
        "ms": round(1000 * (time.perf_counter() - g.started_s), 1),
        "user": who and who.user_id,
        "token": who and who.token_id,
    }


@functools.lru_cache(maxsize=1024)
def _name(endpoint: str | None, method: str, status: int) -> str:
    return f"{REQUEST}{part_of(endpoint)}/{method if method in METHODS else 'other'}/{status}"


def part_of(endpoint: str | None) -> str:
    """The part of the site; none of its few names comes from an address. What leads nowhere is `nowhere`."""
    if endpoint is None:
        return "nowhere"
    if endpoint in PREDICT:
        return "predict"
    if endpoint in FILES:
        return "files"
    blueprint = endpoint.partition(".")[0]
    return "api" if blueprint.startswith("api") else _PARTS.get(blueprint, "pages")
