"""What is dear to find and asked for often: each process keeps it for five minutes."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from flask import current_app

FRESH_S = 300.0
Found = TypeVar("Found")


def lately(name: str, find: Callable[[], Found]) -> Found:
    """What `find` says, or said less than five minutes ago; rows in it are those of a request that is over."""
    kept: dict[str, tuple[float, Any]] = current_app.extensions.setdefault("lately", {})
    found_s, found = kept.get(name, (float("-inf"), None))
    if time.monotonic() - found_s > FRESH_S:
        found = find()
        kept[name] = time.monotonic(), found
    return found
