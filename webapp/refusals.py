"""Answers to what never becomes a request of the application: malformed, too large, too slow."""

import contextlib
import json
import logging
import secrets
import socket
from typing import Any

from gunicorn.http.errors import (
    ConfigurationProblem,
    ExpectationFailed,
    ForbiddenProxyRequest,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)

from webapp.peer import Crowded, SlowClient
from webapp.problems import MEDIA_TYPE, problem, title

log = logging.getLogger(__name__)
UNEXPECTED = "An unexpected error was logged under this request's id. Tell the administrator the id."
MOST_SAID = 500  # some of these texts quote what was sent
# The first that fits: some are kinds of others.
_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (SlowClient, 408),
    (Crowded, 503),
    (InvalidResponseHeader, 500),
    (InvalidResponseHeaderName, 500),
    (ConfigurationProblem, 500),
    (UnsupportedTransferCoding, 501),
    (LimitRequestLine, 414),
    (LimitRequestHeaders, 431),
    (ExpectationFailed, 417),
    (ForbiddenProxyRequest, 403),
    (ParseException, 400),
)


def answer(client: socket.socket, address: Any, error: Exception) -> int:
    """The status that the client is told, as problem+json. The connection ends after it.

    The log names the kind of error alone: its text may quote an address, which may carry names.
    """
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)
    request_id = secrets.token_hex(8)
    told = {"request_id": request_id, "status": status, "address": address[0] if address else ""}
    if status == 500:
        log.error("request_failed", exc_info=error, extra=told)
    else:
        log.warning("request_refused", extra=told | {"reason": type(error).__name__})
    text = _response(status, UNEXPECTED if status == 500 else str(error)[:MOST_SAID], request_id)
    with contextlib.suppress(OSError):
        socket.socket.send(client, text, socket.MSG_DONTWAIT)  # who takes no answer is not waited for
    return status


def _response(status: int, detail: str, request_id: str) -> bytes:
    body = json.dumps(problem(status, detail, request_id)).encode()
    head = [
        f"HTTP/1.1 {status} {title(status)}",
        f"Content-Type: {MEDIA_TYPE}",
        f"Content-Length: {len(body)}",
        f"X-Request-ID: {request_id}",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if status == 503:
        head.append(f"Retry-After: {Crowded.retry_after_s}")
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + body
