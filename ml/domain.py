"""The domain: whether an image is like those that a version learned from. A cat is neither benign nor malignant.

Two distances must both be usual. That of the embedding to its fifth nearest training image, by the cosine (Sun et al.
2022, "Out-of-distribution detection with deep nearest neighbors"); and that of the plain look of the image, in seven
figures, to the mean of the training images (Mahalanobis 1936). The first knows shapes, the second that colour, text
and noise are strange even where the network learned to overlook them. The images of 'validation' fix the limits;
those of 'train' help with the second, in which nothing was learned from them.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml import arrays
from ml.config import Frozen
from ml.incoming import Distances

NAME = "domain.npz"  # among the files of a version
MOST_REFERENCES = 2_000
LEAST_IMAGES = 20
_NEIGHBOURS = 5
_SHARE_WITHIN = 0.98  # for each of the two limits: together at least 0.96
_CAUTION = 1.5  # with 25 images a limit is wider by 30 %, with 900 by 5 %
_LEAST_SPREAD = 0.02  # of a figure: training images that are all grey must not make one grey level of red an outlier
_ROUNDING = 1e-4  # another batch rounds in another way
Floats = NDArray[np.float32]


class DomainRule(Frozen):
    """What the limits do to the `n` images of validation: this share is within both."""

    n: int
    within: float
    distances: Distances | None = None  # None on a card of a release that kept none


@dataclass(frozen=True)
class Domain:
    """Training images, at most 2,000 spread evenly, and the limits of the two distances."""

    reference_MC: Floats
    look_mean_S: Floats
    look_precision_SS: Floats
    limits_2: Floats

    def write(self, path: Path) -> None:
        arrays.write(path, **vars(self))

    @staticmethod
    def read(path: Path) -> "Domain":
        """What was written. Raises BadArtifact."""
        return Domain(*arrays.read(path, "reference_MC", "look_mean_S", "look_precision_SS", "limits_2"))

    def holds(self, embedding_NC: Floats, look_NS: Floats) -> NDArray[np.bool_]:
        """Which images lie within both limits."""
        return is_within(self.distances(embedding_NC, look_NS))

    def distances(self, embedding_NC: Floats, look_NS: Floats) -> Floats:
        """Both distances of each image in parts of their limits, as distances_2N."""
        distances_2N = np.stack([self.embedding_distances(embedding_NC), self.look_distances(look_NS)])
        return np.asarray(distances_2N / self.limits_2[:, None], np.float32)

    def embedding_distances(self, embedding_NC: Floats) -> Floats:
        """The cosine distance of each image to its fifth nearest training image."""
        apart_NM = 1 - embedding_NC @ self.reference_MC.T
        rank = min(_NEIGHBOURS, apart_NM.shape[1]) - 1
        return np.asarray(np.partition(apart_NM, rank, axis=1)[:, rank], np.float32)

    def look_distances(self, look_NS: Floats) -> Floats:
        """The Mahalanobis distance of the plain look of each image."""
        off_NS = look_NS - self.look_mean_S
        squares_N = np.einsum("ns,st,nt->n", off_NS, self.look_precision_SS, off_NS)
        return np.asarray(np.sqrt(squares_N.clip(0)), np.float32)


def is_within(distances_2N: Floats) -> NDArray[np.bool_]:
    """Which images lie within both limits."""
    return np.all(distances_2N <= 1, axis=0)


def fit(
    trained_NC: Floats, trained_look_NS: Floats, validated_MC: Floats, validated_look_MS: Floats
) -> tuple[Domain, DomainRule] | None:
    """The domain of training images, its limits fixed by those of validation.

    None where validation has fewer than 20 images: they could not promise that 95 % of their kind pass.
    """
    n = len(validated_MC)
    if n < LEAST_IMAGES or not len(trained_NC):
        return None
    step = -(-len(trained_NC) // MOST_REFERENCES)
    spread_SS = np.cov(trained_look_NS.astype(np.float64), rowvar=False, bias=True)
    precision_SS = np.linalg.inv(spread_SS + np.eye(len(spread_SS)) * _LEAST_SPREAD**2).astype(np.float32)
    boundless = Domain(trained_NC[::step], trained_look_NS.mean(axis=0), precision_SS, np.full(2, np.inf, np.float32))
    look_N = boundless.look_distances(np.concatenate([trained_look_NS, validated_look_MS]))
    limits_2 = np.array([_limit(boundless.embedding_distances(validated_MC)), _limit(look_N)], np.float32)
    found = replace(boundless, limits_2=limits_2)
    distances_2M = found.distances(validated_MC, validated_look_MS)
    within = float(is_within(distances_2M).mean())
    return found, DomainRule(n=n, within=within, distances=Distances.of(distances_2M))


def _limit(distance_N: Floats) -> float:
    """The distance that 98 % stay within, and more where few images know little of the farthest ones."""
    n = len(distance_N)
    farthest = float(np.sort(distance_N)[min(n, math.ceil(_SHARE_WITHIN * (n + 1))) - 1])
    return farthest * (1 + _CAUTION / math.sqrt(n)) + _ROUNDING
