"""Gunicorn's configuration: `gunicorn --config python:webapp.gunicorn wsgi:app`."""

import logging
from typing import Any

from gunicorn.glogging import Logger

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
accesslog = None  # `webapp.traffic` has a line for each request


class JsonLogger(Logger):
    """Gunicorn's own lines go the way of all others. (A `logconfig_dict` would switch its access log on.)"""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        logs.configure(settings.log_level)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


logger_class = JsonLogger


def on_starting(server: Any) -> None:
    if not settings.is_local:
        code = security.first_admin_code(settings.secret)
        logging.getLogger("webapp").warning(
            "first_admin_code", extra={"code": code, "use": "asked for at /setup while there is no user"}
        )
