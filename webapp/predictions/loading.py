"""A version from the store: verified, tested, ready to answer."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from ml import domain, self_test
from ml.artifact import MODEL_FILES, Card
from ml.config import ServingDevice, Variant
from ml.domain import Domain
from ml.errors import BadArtifact, DeviceFault
from ml.self_test import SelfTest
from ml.serving import Predictor
from webapp.models import ModelVersion
from webapp.storage import DamagedObject, MissingObject, Store, verify

log = logging.getLogger(__name__)
FAULTS = (BadArtifact, DamagedObject, DeviceFault, MissingObject, OSError, ValidationError)


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


def reason(error: Exception) -> str:
    """What may be told to everybody: no path, no rows of a parser."""
    if isinstance(error, OSError):
        return "Its file cannot be read from the store."
    if isinstance(error, ValidationError):
        return "Its card is not of a format that this release knows."
    return str(error)
