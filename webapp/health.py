"""What an orchestrator asks: does the process live, and may it get requests?"""

import contextlib
import logging
from collections.abc import Callable
from typing import Literal

from flask import Blueprint, current_app
from sqlalchemy import text

from ml.errors import MlError
from webapp import queue
from webapp.api import shapes
from webapp.models import db
from webapp.predictions import renewal
from webapp.predictions.active import active_model

log = logging.getLogger(__name__)
bp = Blueprint("health", __name__)


@bp.get("/health/live")
def live() -> shapes.Liveness:
    """200 while the process runs."""
    return {"status": "ok"}


@bp.get("/health")
def ready() -> tuple[shapes.Health, Literal[200, 503], dict[str, str]]:
    """200 where this process can serve, 503 where a part is down or there is no model to answer with.

    The status is `ok` only where nothing is wrong: an active version that cannot be loaded while the one before it
    still serves is `degraded`, but no reason to take the process out of service. A device that fails is.
    """
    checks: shapes.Checks = {
        "database": _check(lambda: db.session.execute(text("SELECT 1"))),
        "redis": _check(lambda: queue.connection().ping()),
        "storage": _check(lambda: current_app.extensions["store"].check()),
        "model": "unknown",
    }
    model = _loaded()
    if checks["database"] == "ok":
        model, checks["model"] = _model()
    device_fault = _device_fault()
    if device_fault:
        checks["model"] = device_fault
    are_up = all(state == "ok" for name, state in checks.items() if name != "model")
    is_well = are_up and checks["model"] in ("ok", "none active")
    is_ready = is_well or (are_up and model is not None and not device_fault)
    body: shapes.Health = {"status": "ok" if is_well else "degraded", "checks": checks, "model": model}
    return (body, 200, {}) if is_ready else (body, 503, {"Retry-After": "5"})


def _check(probe: Callable[[], object]) -> str:
    """'ok' or 'down'. The reason goes to the log: this page is public."""
    try:
        probe()
    except Exception as error:  # whatever a part raises, it is down
        db.session.rollback()
        log.error("part_is_down", extra={"reason": f"{type(error).__name__}: {error}"})
        return "down"
    return "ok"


def _model() -> tuple[shapes.ServingModel | None, str]:
    loaded = active_model().current()
    if active_model().fault:
        return _loaded(), active_model().fault or ""
    return _loaded(), "ok" if loaded else "none active"


def _device_fault() -> str | None:
    """Why the device of the model that serves fails. It is asked once more: a fault that has passed is none."""
    loaded = active_model().loaded
    if loaded and loaded.predictor.device_fault:
        with contextlib.suppress(MlError):
            loaded.predictor.self_test()
        renewal.end_where_lost(loaded.predictor)
    return loaded.predictor.device_fault if loaded else None


def _loaded() -> shapes.ServingModel | None:
    loaded = active_model().loaded
    if loaded is None:
        return None
    return {
        "version": loaded.version,
        "variant": loaded.variant,
        "name": loaded.name,
        "sha256": loaded.sha256,
        "device": loaded.predictor.device,
        "activated_at": loaded.activated_at,
    }
