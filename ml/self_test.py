"""The self-test of a version: stored images with what its graph said of them when it was exported."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml import arrays
from ml.config import Variant
from ml.errors import BadArtifact
from ml.serving import Predictor

NAMES: dict[Variant, str] = {"float32": "self_test.npz", "int8": "self_test.int8.npz"}  # files of a version
_IMAGES, _BLOCKS = 4, 8
# Another processor adds in another order, and rounds integers in other places.
_TOLERANCES: dict[Variant, float] = {"float32": 1e-3, "int8": 0.05}


@dataclass(frozen=True)
class SelfTest:
    """Images of no patient, and the probabilities and embeddings that they got; these are empty without maps."""

    images_NCHW: NDArray[np.uint8]
    probabilities_NK: NDArray[np.float32]
    embedding_NVC: NDArray[np.float32]

    @staticmethod
    def of(predictor: Predictor) -> "SelfTest":
        """What the graph says now."""
        return _said(predictor, _images(predictor.card.input.channels, predictor.card.input.size_px))

    def write(self, path: Path) -> None:
        arrays.write(path, **vars(self))

    @staticmethod
    def read(path: Path) -> "SelfTest":
        """What was written. Raises BadArtifact."""
        return SelfTest(*arrays.read(path, "images_NCHW", "probabilities_NK", "embedding_NVC"))

    def check(self, predictor: Predictor) -> None:
        """Returns where the graph says what it said, and its guard an answer; else raises BadArtifact."""
        predictor.answers_of(self.images_NCHW)
        found, tolerance = _said(predictor, self.images_NCHW), _TOLERANCES[predictor.variant]
        of_embedding = tolerance * float(np.abs(self.embedding_NVC).max(initial=0))
        if not (
            _agree(found.probabilities_NK, self.probabilities_NK, tolerance)
            and _agree(found.embedding_NVC, self.embedding_NVC, of_embedding)
        ):
            raise BadArtifact(
                f"'{predictor.card.name}' fails its self-test: of stored images it does not say what it said when it "
                "was exported. Export the version again, on a machine like this one."
            )


def _said(predictor: Predictor, images_NCHW: NDArray[np.uint8]) -> SelfTest:
    if not predictor.can_explain:
        return SelfTest(images_NCHW, predictor.probabilities(images_NCHW), np.zeros((0, 0, 0), np.float32))
    seen = predictor.see(images_NCHW)
    return SelfTest(images_NCHW, seen.probabilities_NK, seen.embedding_NVC)


def _agree(found: NDArray[np.float32], stored: NDArray[np.float32], tolerance: float) -> bool:
    return found.shape == stored.shape and bool(np.abs(found - stored).max(initial=0) <= tolerance)


def _images(channels: int, size_px: int) -> NDArray[np.uint8]:
    """Coarse blocks of random colour: they reach every part of a network, and hardly take space."""
    blocks = np.random.default_rng(0).integers(0, 256, (_IMAGES, channels, _BLOCKS, _BLOCKS), np.uint8)
    place = np.arange(size_px) * _BLOCKS // size_px
    return np.ascontiguousarray(blocks[:, :, place][..., place])
