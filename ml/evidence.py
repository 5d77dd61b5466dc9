"""The evidence of an evaluation: of each image the map of what was decided, and the training images found alike.

It is made by the job that scores, which sees every image anyway, so that a page need not load the network.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml import arrays
from ml.embedding import Embeddings

NEIGHBOURS = 12


@dataclass(frozen=True)
class Evidence:
    """By the numbers of the images' rows, in the manifest's order; `nearest_Nk` are rows of the data trained on."""

    number_N: NDArray[np.int64]
    maps_NHW: NDArray[np.float16]
    nearest_Nk: NDArray[np.int64]
    distance_Nk: NDArray[np.float32]

    @staticmethod
    def of(
        numbers: list[int], maps_NHW: NDArray[Any], embedding_NC: NDArray[np.float32], trained: Embeddings | None
    ) -> "Evidence":
        """Without embeddings of the training images there are maps, but no neighbours."""
        nearest_Nk, distance_Nk = np.zeros((len(numbers), 0), np.int64), np.zeros((len(numbers), 0), np.float32)
        if trained:
            nearest_Nk, distance_Nk = trained.nearest(embedding_NC, NEIGHBOURS)
        return Evidence(np.array(numbers, np.int64), maps_NHW.astype(np.float16), nearest_Nk, distance_Nk)

    def write(self, path: Path) -> None:
        names = ("number_N", "maps_NHW", "nearest_Nk", "distance_Nk")
        arrays.write(path, **{name: getattr(self, name) for name in names})

    @staticmethod
    def read(path: Path) -> "Evidence":
        """What was written. Raises BadArtifact."""
        return Evidence(*arrays.read(path, "number_N", "maps_NHW", "nearest_Nk", "distance_Nk"))

    def place(self, number: int) -> int | None:
        """Where the image in row `number` is among these; None where it was not scored."""
        return self._places.get(number)

    @functools.cached_property
    def _places(self) -> dict[int, int]:
        return {number: place for place, number in enumerate(self.number_N.tolist())}
