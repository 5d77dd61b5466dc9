"""The model that serves, as one web process holds it in memory; the activation rows say which one it must be."""

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from flask import Flask, current_app
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from ml.config import Variant
from ml.serving import Predictor
from webapp.models import Activation, db
from webapp.predictions import loading

log = logging.getLogger(__name__)
CHECK_INTERVAL_S = 0.25
WAIT_AFTER_S = 1.5  # since it was certain that the model is the right one
WAITS_S = 2.0  # since a load began; one that takes longer is not waited for
FIRST_WAITS_S = 10.0  # where there is no model to answer with meanwhile
RETRY_INTERVAL_S = 10.0  # between two attempts to load a version that could not be loaded
MOST_BACK = 10  # earlier activations that a process tries whose newest cannot be loaded


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


@dataclass
class _Load:
    """A load that goes on in a thread of its own, or has ended."""

    activation_id: int
    version: int
    is_retry: bool
    began_s: float = field(default_factory=time.monotonic)
    done: threading.Event = field(default_factory=threading.Event)

    def took_s(self) -> float:
        return time.monotonic() - self.began_s


class ActiveModel:
    """Follows the newest activation: loads the version beside the old one, tests it, then swaps.

    Looks for it four times a second, and at every request while there is no model. A thread of its own loads; requests
    go on with the old model, so a switch fails none; but only for a second and a half, or where the process was idle
    not at all: then they wait for up to two seconds, so that no answer is older. A load that takes longer, or is tried
    once more, is waited for by nobody. A version that cannot be loaded leaves the old one serving; a process that has
    none goes back to the newest earlier activation that can be loaded; `fault` then says why. The one that served
    before stays loaded, so that the way back needs neither store nor time.
    """

    def __init__(self) -> None:
        self.loaded: Loaded | None = None
        self._before: Loaded | None = None
        self.fault: str | None = None
        self._checked_s = self._certain_s = float("-inf")
        self._failed_id, self._failed_s = 0, float("-inf")
        self._wanted_id = 0
        self._looking, self._swapping = threading.Lock(), threading.Lock()
        self._last_load: _Load | None = None

    def current(self) -> Loaded | None:
        """The model that must answer now, or None where no version is active or none could be loaded."""
        if self._is_due() and self._looking.acquire(timeout=self._look_waits_s()):
            try:
                if self._is_due():  # not where another thread looked while this one waited
                    self._follow()
            finally:
                self._looking.release()
        self._wait()
        return self.loaded

    def _is_due(self) -> bool:
        return self.loaded is None or time.monotonic() - self._checked_s > CHECK_INTERVAL_S

    def _look_waits_s(self) -> float:
        """How long to wait for another thread that looks; -1: until it has."""
        if self.loaded is None:
            return -1
        return WAITS_S if self._is_uncertain() else 0

    def _is_uncertain(self) -> bool:
        return time.monotonic() - self._certain_s > WAIT_AFTER_S

    def _wait(self) -> None:
        """Returns once the model may answer: the right one, or the old one where that is right enough."""
        load = self._last_load
        if load is None or load.is_retry:
            return
        if self.loaded is None:
            load.done.wait(max(0.0, FIRST_WAITS_S - load.took_s()))
        elif self._is_uncertain():
            load.done.wait(max(0.0, WAITS_S - load.took_s()))

    def _follow(self) -> None:
        looked_s = time.monotonic()
        try:
            activation = db.session.scalar(select(Activation).order_by(Activation.id.desc()).limit(1))
            self._obey(activation)
        except SQLAlchemyError:  # a database that is away does not stop the model in memory
            db.session.rollback()
            if self.loaded is None:
                raise
            self._checked_s = self._certain_s = time.monotonic()
        else:
            self._checked_s = looked_s
            if activation is None or self._serves(activation):
                self._certain_s = looked_s

    def _serves(self, activation: Activation) -> bool:
        return self.loaded is not None and self.loaded.activation_id == activation.id

    def _obey(self, activation: Activation | None) -> None:
        if activation is None:
            self.loaded, self._before, self.fault = None, None, None
            return
        self._wanted_id = activation.id
        kept = self._kept(activation)
        if self._serves(activation):
            self.fault = None
        elif kept:
            self._swap(_loaded(activation, kept))
        elif self._is_being_loaded(activation):
            self._tell_if_late()
        elif not self._has_just_failed(activation):
            self._begin(activation)

    def _kept(self, activation: Activation) -> Predictor | None:
        for kept in (self.loaded, self._before):
            if kept and (kept.version, kept.variant) == (activation.version_id, activation.variant):
                return kept.predictor
        return None

    def _is_being_loaded(self, activation: Activation) -> bool:
        load = self._last_load
        return load is not None and load.activation_id == activation.id and not load.done.is_set()

    def _tell_if_late(self) -> None:
        load = self._last_load
        if load and load.took_s() > WAITS_S and self.fault is None:
            self.fault = f"Version {load.version} is not loaded yet. It is on its way from the store."

    def _has_just_failed(self, activation: Activation) -> bool:
        return self._failed_id == activation.id and time.monotonic() - self._failed_s < RETRY_INTERVAL_S

    def _begin(self, activation: Activation) -> None:
        """Loads it in a thread of its own, so that a store that hangs holds no request."""
        load = _Load(activation.id, activation.version_id, is_retry=self._failed_id == activation.id)
        if not load.is_retry:
            self.fault = None  # was of another one
        self._last_load = load
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
        threading.Thread(target=self._load_beside, args=(app, load), name="model loader", daemon=True).start()

    def _load_beside(self, app: Flask, load: _Load) -> None:
        try:
            with app.app_context():
                self._load(db.session.get_one(Activation, load.activation_id))
        except SQLAlchemyError:
            log.warning("model_not_loaded", extra={"version": load.version, "reason": "the database is away"})
        finally:
            load.done.set()

    def _load(self, activation: Activation) -> None:
        """The version of the activation; where that fails and there is no other, one of an earlier activation."""
        if self._try(activation) or self.loaded is not None:
            return
        for earlier in _before(activation):
            if self._try(earlier):
                break

    def _try(self, activation: Activation) -> bool:
        """Whether it serves now, or would if it were still wanted."""
        store, settings = current_app.extensions["store"], current_app.extensions["settings"]
        try:
            predictor = loading.load(store, activation.version, activation.variant, device=settings.serving_device)
        except loading.FAULTS as error:
            self._fail(activation, loading.reason(error))
            log.error("model_not_loaded", extra={"version": activation.version_id, "reason": str(error)})
            return False
        except SQLAlchemyError:
            raise
        except Exception:
            self._fail(activation, "An unexpected error was logged.")
            log.exception("model_not_loaded", extra={"version": activation.version_id})
            return False
        self._swap(_loaded(activation, predictor))
        told = {"version": activation.version_id, "activation": activation.id, "device": predictor.device}
        log.info("model_loaded", extra=told)
        return True

    def _fail(self, activation: Activation, reason: str) -> None:
        with self._swapping:
            if activation.id == self._wanted_id:  # of an earlier one nobody needs to know
                self.fault = f"Version {activation.version_id} cannot be loaded. {reason}"
                self._failed_id, self._failed_s = activation.id, time.monotonic()

    def _swap(self, loaded: Loaded) -> None:
        """Another one that was wanted meanwhile keeps its place; an earlier one is better than none."""
        with self._swapping:
            is_wanted = loaded.activation_id == self._wanted_id
            if not is_wanted and self.loaded is not None:
                return
            if self.loaded and self.loaded.predictor is not loaded.predictor:
                self._before = self.loaded
            self.loaded = loaded
            if is_wanted:
                self.fault = None


def _before(activation: Activation) -> Iterator[Activation]:
    """Earlier activations, the newest first, each of another version or variant."""
    seen = {(activation.version_id, activation.variant)}
    earlier = select(Activation).where(Activation.id < activation.id).order_by(Activation.id.desc())
    for one in db.session.scalars(earlier):
        if (one.version_id, one.variant) not in seen:
            seen.add((one.version_id, one.variant))
            yield one
        if len(seen) > MOST_BACK:
            return


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


def init_app(app: Flask) -> None:
    app.extensions["active_model"] = ActiveModel()


def active_model() -> ActiveModel:
    found: ActiveModel = current_app.extensions["active_model"]
    return found
