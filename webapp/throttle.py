"""How many requests one may make: each token, and each address. Counted in Redis, so for all web processes together."""

import time

from flask import Flask, Response, current_app, request
from flask_limiter import ApplicationLimit, Limiter, RateLimitExceeded
from flask_limiter.util import get_remote_address

from webapp import errors
from webapp.tokens import digest

UNCOUNTED = ("/static/", "/vendor/", "/bootstrap/", "/health")


def _limit_of_token() -> str:
    limit: str = current_app.extensions["settings"].token_limit
    return limit


def _limit_of_address() -> str:
    limit: str = current_app.extensions["settings"].address_limit
    return limit


def _has_no_token() -> bool:
    return "Authorization" not in request.headers


def _is_uncounted() -> bool:
    """Files of pages, and what an orchestrator asks."""
    return request.path.startswith(UNCOUNTED)


limiter = Limiter(
    get_remote_address,
    application_limits=[
        ApplicationLimit(
            _limit_of_token,
            key_function=lambda: digest(request.headers["Authorization"]),
            scope="token",
            exempt_when=_has_no_token,
            error_message=lambda: f"The requests with a token are limited to {_limit_of_token()} (APP_TOKEN_LIMIT).",
        ),
        ApplicationLimit(
            _limit_of_address,
            scope="address",
            exempt_when=_is_uncounted,
            error_message=lambda: (
                f"The requests from an address are limited to {_limit_of_address()} (APP_ADDRESS_LIMIT)."
            ),
        ),
    ],
    in_memory_fallback_enabled=True,
)


def init_app(app: Flask) -> None:
    limiter.init_app(app)
    app.register_error_handler(RateLimitExceeded, _too_many)


def _too_many(error: RateLimitExceeded) -> Response:
    breached = limiter.current_limit
    wait_s = max(1, int(breached.reset_at - time.time())) if breached else 60
    return errors.respond(429, f"{error.description} Try again in {wait_s} s.", retry_after_s=wait_s)
