"""The model that serves, as one web process holds it in memory; the activation rows say which one it must be."""

import logging
import threading
import time
from dataclasses import dataclass

from flask import Flask, current_app
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from ml import domain
from ml.artifact import Card
from ml.domain import Domain
from ml.errors import BadArtifact
from ml.serving import Predictor
from webapp.models import Activation, ModelVersion, db
from webapp.storage import DamagedObject, MissingObject, Store, verify

log = logging.getLogger(__name__)
CHECK_INTERVAL_S = 0.5
WAIT_AFTER_S = 1.5  # since the last look
RETRY_INTERVAL_S = 10.0  # between two attempts to load a version that could not be loaded


@dataclass(frozen=True)
class Loaded:
    """A version ready to answer."""

    activation_id: int
    version: int
    name: str
    sha256: str
    activated_at: str
    predictor: Predictor


class ActiveModel:
    """Follows the newest activation: loads the version beside the old one, then swaps.

    Looks for it every half second, and at every request while there is no model. While one thread loads, the others
    go on with the old model, so a switch fails no request; but only for a second and a half, or where the process was
    idle not at all: then they wait, so that no answer is older than two seconds. A version that cannot be loaded
    leaves the old one serving; `fault` then says why.
    """

    def __init__(self) -> None:
        self.loaded: Loaded | None = None
        self.fault: str | None = None
        self._checked_s = float("-inf")
        self._failed_id, self._failed_s = 0, float("-inf")
        self._loading = threading.Lock()

    def current(self) -> Loaded | None:
        """The model that must answer now, or None where no version is active or none could be loaded."""
        if self._is_due(CHECK_INTERVAL_S) and self._loading.acquire(blocking=self._is_due(WAIT_AFTER_S)):
            try:
                if self._is_due(CHECK_INTERVAL_S):  # not where another thread looked while this one waited
                    self._follow()
            finally:
                self._loading.release()
        return self.loaded

    def _is_due(self, interval_s: float) -> bool:
        return self.loaded is None or time.monotonic() - self._checked_s > interval_s

    def _follow(self) -> None:
        looked_s = time.monotonic()
        try:
            activation = db.session.scalar(select(Activation).order_by(Activation.id.desc()).limit(1))
        except SQLAlchemyError:
            db.session.rollback()
            if self.loaded is None:
                raise
        else:
            self._obey(activation)
        self._checked_s = looked_s  # also without a database: one that is away does not stop the model in memory

    def _obey(self, activation: Activation | None) -> None:
        if activation is None:
            self.loaded, self.fault = None, None
        elif self.loaded and self.loaded.activation_id == activation.id:
            self.fault = None
        elif not self._has_just_failed(activation):
            self._load(activation)

    def _has_just_failed(self, activation: Activation) -> bool:
        return self._failed_id == activation.id and time.monotonic() - self._failed_s < RETRY_INTERVAL_S

    def _load(self, activation: Activation) -> None:
        try:
            predictor = self._predictor(activation.version)
        except (BadArtifact, DamagedObject, MissingObject, OSError, ValidationError) as error:
            self.fault = f"Version {activation.version_id} cannot be loaded. {_reason(error)}"
            self._failed_id, self._failed_s = activation.id, time.monotonic()
            log.error("model_not_loaded", extra={"version": activation.version_id, "reason": str(error)})
            return
        version = activation.version
        self.loaded = Loaded(
            activation.id, version.id, version.name, version.model_sha256, activation.created_at.isoformat(), predictor
        )
        self.fault = None
        log.info("model_loaded", extra={"version": version.id, "activation": activation.id})

    def _predictor(self, version: ModelVersion) -> Predictor:
        if self.loaded and self.loaded.version == version.id:
            return self.loaded.predictor
        predictor = load(current_app.extensions["store"], version)
        predictor.self_test()
        return predictor


def load(store: Store, version: ModelVersion, threads: int = 1) -> Predictor:
    """The version, ready to answer. Raises BadArtifact, DamagedObject, MissingObject, ValidationError."""
    with store.fetch(version.model_sha256) as path:
        verify(path, version.model_sha256)
        return Predictor(path, Card.model_validate(version.card), threads, _domain(store, version))


def _domain(store: Store, version: ModelVersion) -> Domain | None:
    """What tells foreign images; None for a version without a guard."""
    sha256 = version.files.get(domain.NAME)
    if sha256 is None:
        return None
    with store.fetch(sha256) as path:
        verify(path, sha256)
        return Domain.read(path)


def _reason(error: Exception) -> str:
    """What may be told to everybody: no path, no rows of a parser."""
    if isinstance(error, OSError):
        return "Its file cannot be read from the store."
    if isinstance(error, ValidationError):
        return "Its card is not of a format that this release knows."
    return str(error)


def init_app(app: Flask) -> None:
    app.extensions["active_model"] = ActiveModel()


def active_model() -> ActiveModel:
    found: ActiveModel = current_app.extensions["active_model"]
    return found
