"""Logs: one JSON object a line, the event's name first, ids in context."""

import atexit
import contextlib
import datetime
import json
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from flask import g, has_request_context, request

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
GATHER_S = 0.25
MOST_WAITING = 20_000
_PIECE = 4000  # bytes; a pipe takes up to 4096 whole, whoever else writes into it


class JsonFormatter(logging.Formatter):
    """Event, level, time, logger, request id and the record's `extra` fields as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        line = _begun(record.getMessage(), record.levelname.lower(), record.created, record.name)
        if has_request_context():
            line |= {"request_id": g.get("request_id"), "endpoint": request.endpoint}
        line |= {key: value for key, value in vars(record).items() if key not in STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _json(line)


class Gathered:
    """Lines of which there are many: a thread writes those of a quarter of a second together.

    One by one they would cost a twentieth of a busy site: whoever reads the log wakes up for each.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._waiting: deque[tuple[float, dict[str, Any]]] = deque(maxlen=MOST_WAITING)
        self._are_there = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, fields: dict[str, Any]) -> None:
        """Takes a line; its first field is its event."""
        if self._process != os.getpid():
            self._begin()  # what the parent has is the parent's to write
        self._waiting.append((time.time(), fields))
        if not self._are_there.is_set():
            self._wake()

    def _wake(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_on, name="log", daemon=True)
                self._thread.start()
                atexit.register(self.write)
        self._are_there.set()

    def _write_on(self) -> None:
        while True:
            self._are_there.wait()
            time.sleep(GATHER_S)
            self._are_there.clear()
            self.write()

    def write(self) -> None:
        """Writes what waits."""
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            for piece in self._pieces():
                sys.stderr.write(piece)
                sys.stderr.flush()

    def _pieces(self) -> Iterator[str]:
        piece = ""
        with contextlib.suppress(IndexError):  # none is left
            while True:
                at_s, fields = self._waiting.popleft()
                line = _json(_begun(fields.pop("event"), "info", at_s, fields.pop("logger")) | fields) + "\n"
                if len(piece) + len(line) > _PIECE:
                    yield piece
                    piece = ""
                piece += line
        yield piece


def _begun(event: str, level: str, at_s: float, logger: str) -> dict[str, Any]:
    moment = datetime.datetime.fromtimestamp(at_s, datetime.UTC)
    return {"event": event, "level": level, "at": moment.isoformat(timespec="milliseconds"), "logger": logger}


def _json(line: dict[str, Any]) -> str:
    return json.dumps(line, default=str, ensure_ascii=False)


gathered = Gathered()


def configure(level: str) -> None:
    """Sends every log line of this process to standard error as JSON; twice is harmless."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("alembic", "werkzeug", "flask-limiter", "onnx_ir", "onnxscript", "torch"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
