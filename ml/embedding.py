"""The embedding: images as the network sees them, and which training images it finds alike.

An embedding is the mean over the last feature map (over both views where there are two), scaled to length 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml import appearance, arrays, evaluation
from ml.config import Split
from ml.manifest import Manifest
from ml.pack import PackReader
from ml.serving import Predictor

NAME = "embeddings.npz"  # among the files of a version
MOST_IMAGES = 20_000
_QUERIES_AT_ONCE = 512


@dataclass(frozen=True)
class Embeddings:
    """Images by the numbers of their rows in the manifest, with their embeddings and their plain look."""

    number_N: NDArray[np.int64]
    embedding_NC: NDArray[np.float32]
    look_NS: NDArray[np.float32]

    def write(self, path: Path) -> None:
        """Half precision is enough to tell neighbours by."""
        kept_NC = self.embedding_NC.astype(np.float16)
        arrays.write(path, number_N=self.number_N, embedding_NC=kept_NC, look_NS=self.look_NS)

    @staticmethod
    def read(path: Path) -> "Embeddings":
        """What was written. Raises BadArtifact."""
        number_N, kept_NC, look_NS = arrays.read(path, "number_N", "embedding_NC", "look_NS")
        return Embeddings(number_N, kept_NC.astype(np.float32), look_NS)

    def nearest(self, query_MC: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Row numbers and cosine distances of the `k` nearest images (of all, if they are fewer), nearest first.

        Queries have length 1, too.
        """
        parts = [
            self._nearest(query_MC[start : start + _QUERIES_AT_ONCE], min(k, len(self.number_N)))
            for start in range(0, len(query_MC), _QUERIES_AT_ONCE)
        ]
        numbers, distances = zip(*parts, strict=True) if parts else ([np.zeros((0, k))], [np.zeros((0, k))])
        return np.concatenate(numbers).astype(np.int64), np.concatenate(distances).astype(np.float32)

    def _nearest(self, query_MC: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        distance_MN = 1 - query_MC @ self.embedding_NC.T
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
    embeddings, looks, done = [], [], 0
    for batch_NCHW in evaluation.pixels(predictor, packs, chosen):
        report(done, len(chosen))
        embeddings.append(predictor.see(batch_NCHW).directions.astype(np.float16).astype(np.float32))  # as it is kept
        looks.append(appearance.figures(batch_NCHW))
        done += len(batch_NCHW)
    numbers, nothing_NC = np.array([number for number, _ in chosen], np.int64), np.zeros((0, 1), np.float32)
    return Embeddings(numbers, *(np.concatenate(parts or [nothing_NC]) for parts in (embeddings, looks)))
