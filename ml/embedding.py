"""The embedding: images as the network sees them, and which training images it finds alike.

An embedding is the mean over the last feature map (over both views where there are two), scaled to length 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml import arrays, evaluation
from ml.config import Split
from ml.manifest import Manifest
from ml.pack import PackReader
from ml.serving import Predictor

NAME = "embeddings.npz"  # among the files of a version
MOST_IMAGES = 20_000
_QUERIES_AT_ONCE = 512


@dataclass(frozen=True)
class Embeddings:
    """Images by the numbers of their rows in the manifest, with their embeddings."""

    number_N: NDArray[np.int64]
    embedding_NC: NDArray[np.float32]

    def write(self, path: Path) -> None:
        """Half precision is enough to tell neighbours by."""
        arrays.write(path, number_N=self.number_N, embedding_NC=self.embedding_NC.astype(np.float16))

    @staticmethod
    def read(path: Path) -> "Embeddings":
        """What was written. Raises BadArtifact."""
        number_N, embedding_NC = arrays.read(path, "number_N", "embedding_NC")
        return Embeddings(number_N.astype(np.int64), embedding_NC.astype(np.float32))

    def nearest(self, query_MC: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Row numbers and cosine distances of the `k` nearest images (all, where there are fewer), nearest first."""
        parts = [
            self._nearest(query_MC[start : start + _QUERIES_AT_ONCE], min(k, len(self.number_N)))
            for start in range(0, len(query_MC), _QUERIES_AT_ONCE)
        ]
        numbers, distances = zip(*parts, strict=True) if parts else ([np.zeros((0, k))], [np.zeros((0, k))])
        return np.concatenate(numbers).astype(np.int64), np.concatenate(distances).astype(np.float32)

    def _nearest(self, query_MC: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        distance_MN = 1 - scaled(query_MC) @ self.embedding_NC.T
        place_Mk = np.argsort(distance_MN, axis=1, kind="stable")[:, :k]
        distance_Mk = np.take_along_axis(distance_MN, place_Mk, axis=1)
        return self.number_N[place_Mk], distance_Mk.clip(0, 2).astype(np.float32)


def of_split(
    predictor: Predictor,
    manifest: Manifest,
    packs: PackReader,
    split: Split,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Embeddings:
    """The embeddings of a split; of more than 20,000 images so many, spread evenly. Raises NoExplanation."""
    rows = evaluation.rows_of(manifest, split)
    places = np.linspace(0, len(rows) - 1, min(len(rows), MOST_IMAGES)).round().astype(int)
    chosen = [rows[place] for place in places]
    parts_NC, done = [], 0
    for batch_NCHW in evaluation.pixels(predictor, packs, chosen):
        report(done, len(chosen))
        parts_NC.append(scaled(predictor.see(batch_NCHW).embedding_NVC.mean(axis=1)))
        done += len(batch_NCHW)
    numbers = np.array([number for number, _ in chosen], np.int64)
    return Embeddings(numbers, np.concatenate(parts_NC) if parts_NC else np.zeros((0, 1), np.float32))


def scaled(embedding_NC: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each embedding at length 1; one of nothing stays 0."""
    length_N1 = np.linalg.norm(embedding_NC, axis=1, keepdims=True)
    return (embedding_NC / np.maximum(length_N1, 1e-12)).astype(np.float32)
