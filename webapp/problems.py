"""problem+json (RFC 9457): the one shape of an error for client systems, inside and outside of a Flask request."""

from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"
_PHRASES = {int(status): status.phrase for status in HTTPStatus}  # some protocols have more: 460 of tus


def title(status: int) -> str:
    return _PHRASES.get(status, "Refused")


def problem(status: int, detail: str, request_id: str | None) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": title(status),
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }
