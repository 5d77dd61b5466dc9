"""The model that serves, as one web process holds it in memory; the activation rows say which one it must be."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flask import Flask, current_app
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from ml import domain, self_test
from ml.artifact import MODEL_FILES, Card
from ml.config import ServingDevice, Variant
from ml.domain import Domain
from ml.errors import BadArtifact, DeviceFault
from ml.self_test import SelfTest
from ml.serving import Predictor
from webapp.models import Activation, ModelVersion, db
from webapp.storage import DamagedObject, MissingObject, Store, verify

log = logging.getLogger(__name__)
CHECK_INTERVAL_S = 0.25
WAIT_AFTER_S = 1.5  # since the last look
RETRY_INTERVAL_S = 10.0  # between two attempts to load a version that could not be loaded


@dataclass(frozen=True)
class Loaded:
    """A version ready to answer."""

    activation_id: int
    version: int
    variant: Variant
    name: str
    sha256: str
    activated_at: str
    predictor: Predictor


class ActiveModel:
    """Follows the newest activation: loads the version beside the old one, tests it, then swaps.

    Looks for it four times a second, and at every request while there is no model. While one thread loads, the others
    go on with the old model, so a switch fails no request; but only for a second and a half, or where the process was
    idle not at all: then they wait, so that no answer is older than two seconds. A version that cannot be loaded
    leaves the old one serving; `fault` then says why. The one that served before stays loaded, so that the way back
    needs neither store nor time.
    """

    def __init__(self) -> None:
        self.loaded: Loaded | None = None
        self._before: Loaded | None = None
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
            self.loaded, self._before, self.fault = None, None, None
        elif self.loaded and self.loaded.activation_id == activation.id:
            self.fault = None
        elif not self._has_just_failed(activation):
            self._load(activation)

    def _has_just_failed(self, activation: Activation) -> bool:
        return self._failed_id == activation.id and time.monotonic() - self._failed_s < RETRY_INTERVAL_S

    def _load(self, activation: Activation) -> None:
        try:
            predictor = self._predictor(activation)
        except (BadArtifact, DamagedObject, DeviceFault, MissingObject, OSError, ValidationError) as error:
            self.fault = f"Version {activation.version_id} cannot be loaded. {_reason(error)}"
            self._failed_id, self._failed_s = activation.id, time.monotonic()
            log.error("model_not_loaded", extra={"version": activation.version_id, "reason": str(error)})
            return
        self._swap(_loaded(activation, predictor))
        told = {"version": activation.version_id, "activation": activation.id, "device": predictor.device}
        log.info("model_loaded", extra=told)

    def _predictor(self, activation: Activation) -> Predictor:
        for kept in (self.loaded, self._before):
            if kept and (kept.version, kept.variant) == (activation.version_id, activation.variant):
                return kept.predictor
        store, settings = current_app.extensions["store"], current_app.extensions["settings"]
        return load(store, activation.version, activation.variant, device=settings.serving_device)

    def _swap(self, loaded: Loaded) -> None:
        if self.loaded and self.loaded.predictor is not loaded.predictor:
            self._before = self.loaded
        self.loaded, self.fault = loaded, None


def _loaded(activation: Activation, predictor: Predictor) -> Loaded:
    version = activation.version
    return Loaded(
        activation.id,
        version.id,
        activation.variant,
        version.name,
        version.graph_sha256(activation.variant),
        activation.created_at.isoformat(),
        predictor,
    )


def load(
    store: Store,
    version: ModelVersion,
    variant: Variant = "float32",
    threads: int = 1,
    device: ServingDevice = "cpu",
) -> Predictor:
    """The version, verified, tested, ready to answer.

    Raises BadArtifact, DamagedObject, DeviceFault, MissingObject, ValidationError.
    """
    if MODEL_FILES[variant] not in version.files:
        raise BadArtifact(f"'{version.name}' has no variant '{variant}'. Activate it without one.")
    with _verified(store, version.graph_sha256(variant)) as path:
        card, guard = Card.model_validate(version.card), _domain(store, version)
        predictor = Predictor(path, card, threads, guard, variant, device)
    try:
        _test(store, version, predictor)
    except DeviceFault as fault:
        if device != "auto" or predictor.device == "cpu":
            raise
        log.warning("cuda_not_usable", extra={"reason": str(fault)})  # one that is too old, or full
        return load(store, version, variant, threads, "cpu")
    return predictor


@contextlib.contextmanager
def _verified(store: Store, sha256: str) -> Iterator[Path]:
    """The file within the `with` block. Raises DamagedObject, MissingObject."""
    with store.fetch(sha256) as path:
        verify(path, sha256)
        yield path


def _domain(store: Store, version: ModelVersion) -> Domain | None:
    """What tells foreign images; None for a version without a guard."""
    sha256 = version.files.get(domain.NAME)
    if sha256 is None:
        return None
    with _verified(store, sha256) as path:
        return Domain.read(path)


def _test(store: Store, version: ModelVersion, predictor: Predictor) -> None:
    """Returns where stored images get the answers of the export; a version of an old release keeps none."""
    sha256 = version.files.get(self_test.NAMES[predictor.variant])
    if sha256 is None:
        return predictor.self_test()
    with _verified(store, sha256) as path:
        SelfTest.read(path).check(predictor)


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
