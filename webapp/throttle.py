"""How many requests one may make: each token, and each address. Counted in Redis, so for all web processes together.

Far below a limit a process brings what it counted to Redis four times a second; close to it, with every request. So
counting costs next to nothing, and the last request that is let through is the right one. Without Redis each process
counts alone. Attempts to log in have limits of their own (`limiter`).
"""

import functools
import math
import threading
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address, ip_network

from flask import Flask, Response, current_app, request
from flask_limiter import Limiter, RateLimitExceeded
from flask_limiter.util import get_remote_address
from limits import RateLimitItem, parse_many
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from webapp import errors
from webapp.tokens import digest, secret_of

# Files of pages, and what an orchestrator asks.
UNCOUNTED = frozenset({"static", "bootstrap.static", "assets.vendor", "health.ready", "health.live"})
GATHER_S = 0.25
CLOSE = 200  # requests below the limit
AWAY_S = 5.0  # a Redis that does not answer is not asked again for so long
MOST_WINDOWS = 20_000


def asker() -> str:
    """The address that asks; of IPv6 its first 64 bits, since whoever has one address of these has all of them."""
    return _counted_as(get_remote_address())


@functools.lru_cache(maxsize=1024)
def _counted_as(remote: str) -> str:
    try:
        address = ip_address(remote)
    except ValueError:  # no address at all: a Unix socket, a name in a test
        return remote
    if isinstance(address, IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ip_network((address, 64), strict=False))


limiter = Limiter(asker, in_memory_fallback_enabled=True)


@dataclass(slots=True)
class _Window:
    """Requests of one token or address in one span of time: those that Redis knows of, and those that it does not."""

    ends_s: float
    known: int = 0
    untold: int = 0
    told_s: float = float("-inf")

    @property
    def count(self) -> int:
        return self.known + self.untold


class Counter:
    """What one process counts; `told` to Redis, whose sum comes back."""

    def __init__(self, redis: Redis) -> None:
        self._redis, self._away_until_s = redis, float("-inf")
        self._windows: dict[str, _Window] = {}
        self._lock = threading.Lock()

    def exceeds(self, who: str, limit: RateLimitItem) -> float | None:
        """Counts a request; the seconds to wait where it is one too many, else None."""
        now_s, length_s = time.time(), limit.get_expiry()
        number = math.floor(now_s / length_s)
        key = f"requests/{who}/{length_s}/{number}"
        with self._lock:
            window = self._windows.get(key) or self._begin(key, (number + 1) * length_s)
            window.untold += 1
            is_due = now_s - window.told_s > GATHER_S or window.count > limit.amount - CLOSE
            untold = window.untold if is_due and now_s > self._away_until_s else 0
            if untold:
                window.untold, window.known, window.told_s = 0, window.count, now_s
        if untold:
            self._tell(key, window, untold, length_s)
        return window.ends_s - now_s if window.count > limit.amount else None

    def _begin(self, key: str, ends_s: float) -> _Window:
        if len(self._windows) >= MOST_WINDOWS:
            now_s = time.time()
            self._windows = {key: one for key, one in self._windows.items() if one.ends_s > now_s}
        if len(self._windows) >= MOST_WINDOWS:
            self._windows.clear()  # somebody asks from very many addresses; Redis still has the sums
        window = self._windows[key] = _Window(ends_s)
        return window

    def _tell(self, key: str, window: _Window, untold: int, length_s: int) -> None:
        try:
            with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.incrby(key, untold)
                pipeline.expire(key, length_s + 1)
                known, _ = pipeline.execute()
        except RedisError:
            self._away_until_s = time.time() + AWAY_S
        else:
            with self._lock:
                window.known = max(window.known, known)


def init_app(app: Flask) -> None:
    settings = app.extensions["settings"]
    # A Redis that is frozen holds a request for a second at most.
    patience = {"socket_connect_timeout": 1, "socket_timeout": 1, "retry": Retry(NoBackoff(), 0)}
    app.extensions["request_counter"] = Counter(Redis.from_url(settings.redis, **patience))
    app.extensions["request_limits"] = (parse_many(settings.token_limit), parse_many(settings.address_limit))
    app.before_request(_count)
    limiter.init_app(app)
    app.before_request_funcs[None].remove(limiter._check_request_limit)  # views that have a limit check it themselves
    app.register_error_handler(RateLimitExceeded, _too_many_attempts)


def _count() -> Response | None:
    """Refuses a request that is one too many."""
    of_token, of_address = current_app.extensions["request_limits"]
    if "Authorization" in request.headers:
        secret = secret_of(request.headers["Authorization"]) or ""
        refused = _exceeded(f"token/{digest(secret)}", of_token, "with a token", "TOKEN")
        if refused:
            return refused
    if request.endpoint in UNCOUNTED:
        return None
    return _exceeded(f"address/{asker()}", of_address, "from an address", "ADDRESS")


def _exceeded(who: str, limits: list[RateLimitItem], of_what: str, setting: str) -> Response | None:
    counter: Counter = current_app.extensions["request_counter"]
    for limit in limits:
        wait_s = counter.exceeds(who, limit)
        if wait_s is not None:
            text = current_app.extensions["settings"].model_dump()[f"{setting.lower()}_limit"]
            return _refuse(f"The requests {of_what} are limited to {text} (APP_{setting}_LIMIT).", wait_s)
    return None


def _too_many_attempts(error: RateLimitExceeded) -> Response:
    breached = limiter.current_limit
    return _refuse(error.description, breached.reset_at - time.time() if breached else 60)


def _refuse(reason: str, wait_s: float) -> Response:
    whole_s = max(1, math.ceil(wait_s))
    return errors.respond(429, f"{reason} Try again in {whole_s} s.", retry_after_s=whole_s)
