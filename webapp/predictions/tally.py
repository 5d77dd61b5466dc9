"""What web processes count together: requests, how long each stage of an answer took, images that were refused, and how
full the line before the model was.

Each process counts for itself; the thread of the journal brings the counts to Redis, where they add up. A Redis that is
away gets them later, one that was emptied begins anew, as counters of Prometheus may.
"""

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping

from redis import Redis
from redis.exceptions import RedisError

KEY = "predictions/tally"
STAGES = ("decode", "model", "whole")
LIMITS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
UNDECODED, BUSY, OCCUPIED = "undecoded", "busy", "occupied"
REQUEST = "request/"  # before part, method and status
AWAY_S = 5.0  # a Redis that does not answer is not asked again for so long
_MICROSECONDS = 1e6


class Tally:
    """What one process counted and has not told yet."""

    def __init__(self, redis: Redis) -> None:
        self._redis, self._untold, self._lock = redis, Counter[str](), threading.Lock()
        self._away_until_s = float("-inf")

    @property
    def has_news(self) -> bool:
        """Whether there is something to tell, and a Redis that may listen."""
        return bool(self._untold) and time.monotonic() > self._away_until_s

    def add(self, took_s: Mapping[str, float], undecoded: int = 0) -> None:
        """Counts the stages of one image, by name."""
        with self._lock:
            for stage, seconds in took_s.items():
                self._untold[f"{stage}/{bisect_left(LIMITS_S, seconds)}"] += 1
                self._untold[f"{stage}/sum"] += round(seconds * _MICROSECONDS)
            if undecoded:
                self._untold[UNDECODED] += undecoded

    def count(self, name: str, amount: int = 1) -> bool:
        """Whether there was nothing to tell before."""
        with self._lock:
            is_first = not self._untold
            self._untold[name] += amount
        return is_first

    def tell(self) -> None:
        with self._lock:
            told, self._untold = self._untold, Counter()
        try:
            with self._redis.pipeline(transaction=True) as pipeline:
                for name, count in told.items():
                    pipeline.hincrby(KEY, name, count)
                pipeline.execute()
        except RedisError:
            self._away_until_s = time.monotonic() + AWAY_S
            with self._lock:
                self._untold += told


class Told:
    """What all processes told. Raises RedisError."""

    def __init__(self, redis: Redis) -> None:
        found: dict[bytes, bytes] = redis.hgetall(KEY)  # type: ignore[assignment]  # this client decodes nothing
        self._counts = {name.decode(): int(count) for name, count in found.items()}

    @property
    def undecoded(self) -> int:
        return self._counts.get(UNDECODED, 0)

    @property
    def busy(self) -> int:
        """Requests that found no place before the model."""
        return self._counts.get(BUSY, 0)

    @property
    def occupied_s(self) -> float:
        """How long places before the model were taken, all together."""
        return self._counts.get(OCCUPIED, 0) / _MICROSECONDS

    def requests(self) -> Iterator[tuple[str, str, str, int]]:
        """Part, method and status with the number of requests."""
        for name, count in self._counts.items():
            if name.startswith(REQUEST):
                part, method, status = name.removeprefix(REQUEST).split("/")
                yield part, method, status, count

    def histogram(self, stage: str) -> tuple[list[tuple[str, float]], float]:
        """The images that took at most each limit, as Prometheus wants them, and the sum of all seconds."""
        return list(self._cumulated(stage)), self._counts.get(f"{stage}/sum", 0) / _MICROSECONDS

    def _cumulated(self, stage: str) -> Iterator[tuple[str, float]]:
        total = 0
        for place, limit in enumerate((*map(str, LIMITS_S), "+Inf")):
            total += self._counts.get(f"{stage}/{place}", 0)
            yield limit, float(total)
