"""The product: people, rows, pages, JSON. `create_app` only wires."""

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask, g, request
from flask_bootstrap import Bootstrap5
from flask_compress import Compress
from sqlalchemy import make_url
from werkzeug.middleware.proxy_fix import ProxyFix

from webapp import errors, logs, postgres, queue, security, storage, uploads
from webapp.models import db
from webapp.peer import Places
from webapp.settings import Settings

ROOT = Path(__file__).resolve().parent.parent


class Site(Flask):
    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Flask's hook. Nothing here is async, and to ask each function of each request costs dozens of calls."""
        return func


def create_app(
    settings: Settings | None = None,
    store_patience_s: float = storage.PATIENCE_S,
    statement_s: float = postgres.WEB_STATEMENT_S,
) -> Flask:
    settings = settings or Settings()
    logs.configure(settings.log_level)
    app = Site(__name__, root_path=str(ROOT), static_folder="static", template_folder="templates")
    app.config.from_mapping(_flask_config(settings, statement_s))
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["settings"] = settings
    app.extensions["store"] = storage.open_store(settings, store_patience_s)
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, hops, hops, hops, hops)  # type: ignore[method-assign]

    app.before_request(_begin)
    db.init_app(app)
    queue.init_app(app, settings.redis)
    uploads.init_app(app)
    security.init_app(app)
    errors.init_app(app)
    Bootstrap5(app)
    Compress(app)
    _register(app)
    return app


def _register(app: Flask) -> None:
    from webapp import assets, cli, guide, health, metrics, pages, traffic
    from webapp.admin import views as admin
    from webapp.api import batches as api_batches
    from webapp.api import docs
    from webapp.api import reports as api_reports
    from webapp.api import searches as api_searches
    from webapp.api import views as api
    from webapp.api import watching as watching_api
    from webapp.auth import views as auth
    from webapp.batches import views as batches
    from webapp.datasets import changes, gallery, review
    from webapp.experiments import views as experiments
    from webapp.predictions import active, journal, rounds, turns, watching
    from webapp.predictions import views as predictions
    from webapp.rates import views as rates
    from webapp.registry import analysis, inspection
    from webapp.registry import views as registry
    from webapp.resumable import views as resumable
    from webapp.searches import views as searches
    from webapp.studies import views as studies

    for part in (
        assets,
        health,
        metrics,
        pages,
        admin,
        api,
        api_batches,
        api_reports,
        api_searches,
        auth,
        batches,
        changes,
        docs,
        gallery,
        guide,
        review,
        analysis,
        inspection,
        experiments,
        predictions,
        rates,
        registry,
        resumable,
        searches,
        studies,
        watching,
        watching_api,
    ):
        app.register_blueprint(part.bp)
    pages.init_app(app)
    active.init_app(app)
    journal.init_app(app)
    rounds.init_app(app)
    turns.init_app(app)
    traffic.init_app(app)
    cli.init_app(app)


def _flask_config(settings: Settings, statement_s: float) -> dict[str, object]:
    if make_url(settings.database).get_backend_name() == "sqlite":
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    return {
        "SECRET_KEY": settings.secret,
        "SQLALCHEMY_DATABASE_URI": settings.database,
        "SQLALCHEMY_ENGINE_OPTIONS": {
            "pool_pre_ping": True,
            "pool_size": settings.web_threads,
            "max_overflow": Places.count(settings.web_threads),
            "connect_args": postgres.connect_args(settings.database, statement_s),
        },
        "PERMANENT_SESSION_LIFETIME": settings.session_hours * 3600,
        "SESSION_REFRESH_EACH_REQUEST": False,  # the time counts from the login
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": settings.is_production,
        "WTF_CSRF_CHECK_DEFAULT": False,  # webapp.security protects every unsafe request of a session itself
        "WTF_CSRF_TIME_LIMIT": None,
        "RATELIMIT_STORAGE_URI": settings.redis.replace("unix://", "redis+unix://", 1),
        "RATELIMIT_STORAGE_OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},  # a frozen Redis holds nobody
        "BOOTSTRAP_SERVE_LOCAL": True,
        "COMPRESS_MIMETYPES": ["text/html", "text/css", "text/javascript", "application/json", "image/svg+xml"],
    }


def _begin() -> None:
    g.started_s = time.perf_counter()
    given = request.headers.get("X-Request-ID", "")
    g.request_id = (
        given
        if 8 <= len(given) <= 64 and given.isascii() and given.replace("-", "").isalnum()
        else secrets.token_hex(8)
    )
