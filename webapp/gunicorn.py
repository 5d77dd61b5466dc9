"""Gunicorn's configuration: `gunicorn --config python:webapp.gunicorn wsgi:app`."""

from typing import Any

from webapp import logs, security
from webapp.settings import Settings

settings = Settings()
bind = f"{settings.host}:{settings.port}"
workers = settings.web_concurrency
worker_class = "webapp.worker.Worker"  # threads: a slow upload must not hold a process, nor be killed as hung
threads = settings.web_threads
timeout = 60
graceful_timeout = 30
keepalive = 5
preload_app = False  # ONNX Runtime's sessions do not survive a fork
control_socket_disable = True  # would be written into the working folder, which may be read-only
accesslog = None


def on_starting(server: Any) -> None:
    logs.configure(settings.log_level)
    if not settings.is_local:
        import logging

        code = security.first_admin_code(settings.secret)
        logging.getLogger("webapp").warning(
            "first_admin_code", extra={"code": code, "use": "asked for at /setup while there is no user"}
        )
