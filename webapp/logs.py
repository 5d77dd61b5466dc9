"""Logs: one JSON object a line, the event's name first, ids in context."""

import datetime
import json
import logging
import sys
from typing import Any

from flask import g, has_request_context, request

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Event, level, time, logger, request id and the record's `extra` fields as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, Any] = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "at": moment.isoformat(timespec="milliseconds"),
            "logger": record.name,
        }
        if has_request_context():
            line |= {"request_id": g.get("request_id"), "endpoint": request.endpoint}
        line |= {key: value for key, value in vars(record).items() if key not in STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure(level: str) -> None:
    """Sends every log line of this process to standard error as JSON; twice is harmless."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("alembic", "werkzeug", "flask-limiter", "onnx_ir", "onnxscript", "torch"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
