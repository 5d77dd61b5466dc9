"""How much of a request has come, before a thread is spent on it."""

import os
import re
import socket
from typing import Any

from gunicorn.http.errors import LimitRequestHeaders

MOST_BYTES = 32 << 10
SMALL_BYTES = 16 << 10  # a body up to here, such as a form, is waited for together with its head
_TAKEN_BYTES = 8 << 10
_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,5})[ \t]*\r\n", re.IGNORECASE)
_ASKS_FIRST = re.compile(rb"\r\nexpect:", re.IGNORECASE)  # and sends no body before it is told to


def has_come(conn: Any) -> bool:
    """Whether a thread can read the head, and a small body, without waiting. Takes what has come; never waits itself.

    Raises OSError where the client is gone, LimitRequestHeaders where the head is too large.
    """
    buffer = conn.parser.unreader.buf
    while not _is_enough(buffer.getvalue()):
        try:
            data = socket.socket.recv(conn.sock, _TAKEN_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        if not data:
            raise ConnectionResetError
        buffer.seek(0, os.SEEK_END)
        buffer.write(data)
    return True


def has_begun(conn: Any) -> bool:
    return bool(conn.parser.unreader.buf.getvalue())


def _is_enough(data: bytes) -> bool:
    end = data.find(_END)
    if end >= 0:
        return len(data) - end - len(_END) >= _awaited(data[: end + 2])
    if data.count(b"\n") != data.count(b"\r\n"):
        return True  # no head ends so: Gunicorn refuses it
    if len(data) > MOST_BYTES:
        raise LimitRequestHeaders(
            f"The head of the request has more than {MOST_BYTES >> 10} KiB. Send shorter headers and cookies."
        )
    return False


def _awaited(head: bytes) -> int:
    """How many bytes of a body to wait for."""
    found = _LENGTH.search(head)
    length = int(found[1]) if found else 0
    return 0 if length > SMALL_BYTES or _ASKS_FIRST.search(head) else length
