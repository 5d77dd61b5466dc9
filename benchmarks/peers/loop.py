"""No server at all: images scored one after another, images a second on standard output. `loop.py IMAGE SECONDS`."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.scorer import Scorer

WARM_UP_S = 2.0


def main() -> None:
    score, data = Scorer(), Path(sys.argv[1]).read_bytes()
    _count(lambda: score(data), WARM_UP_S)
    print(_count(lambda: score(data), float(sys.argv[2])))


def _count(call: Callable[[], object], seconds: float) -> float:
    """Calls a second."""
    calls, began_s = 0, time.perf_counter()
    while time.perf_counter() - began_s < seconds:
        call()
        calls += 1
    return calls / (time.perf_counter() - began_s)


if __name__ == "__main__":
    main()
