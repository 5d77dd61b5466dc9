"""How many connections each web process holds, in memory that all of them share.

To be imported by Gunicorn's main process, before it forks. Each process writes in a place of its own, and says at
least every second that it is still there: what a dead one left behind is soon too old to count.
"""

import math
import mmap
import time

PLACES = 512  # more than there may be processes, dying ones among them
FRESH_S = 3.0
_DOUBLE = 8

_shared = memoryview(mmap.mmap(-1, 2 * PLACES * _DOUBLE)).cast("d")
_counts, _told_s = _shared[:PLACES], _shared[PLACES:]


def tell(place: int, count: float) -> None:
    """What the process of this place holds; infinity where it takes no more."""
    _counts[place % PLACES], _told_s[place % PLACES] = count, time.monotonic()


def fewest() -> float:
    """Of all processes that told within the last seconds; infinity where none did."""
    since_s = time.monotonic() - FRESH_S
    told = zip(_counts.tolist(), _told_s.tolist(), strict=True)
    return min((count for count, told_s in told if told_s > since_s), default=math.inf)
