"""Abstention: the images of which a version decides nothing. Chosen before the training, fixed by validation."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml import conformal, temperature
from ml.config import Frozen
from ml.intervals import Score, proportion


class Policy(Frozen):
    """Of what a class must reach so that it is decided for, in every answer of the version.

    probability: the probability of the class, divided by the `temperature`, must reach the `threshold`, which is the
    level that was asked for. conformal: of all classes only that one reaches the `threshold`, which makes sets that
    hold the truth at the level's rate. `n` images fixed it.
    """

    kind: Literal["probability", "conformal"]
    level: float
    threshold: float
    temperature: float = 1.0
    n: int
    fitted_on: Literal["validation"] = "validation"

    def sets(self, probabilities_NK: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which classes reach the threshold, as is_in_NK."""
        if self.kind == "probability":
            return temperature.scaled(probabilities_NK, self.temperature) >= self.threshold
        return np.asarray(probabilities_NK, np.float64) >= self.threshold

    def abstains(self, probabilities_NK: NDArray[np.floating], decided_N: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Of which images the classes `decided_N` are no decision."""
        is_in_NK = self.sets(probabilities_NK)
        is_decided_N = is_in_NK[np.arange(len(decided_N)), decided_N]
        return ~is_decided_N if self.kind == "probability" else ~(is_decided_N & (is_in_NK.sum(axis=1) == 1))


class Decided(Frozen):
    """What a policy does to `n` images: the share that is decided, and how many of these decisions are right."""

    n: int
    share: Score
    accuracy: Score


class Abstention(Frozen):
    """A version's policy, and what it does to the images that fixed it and to those that only report."""

    policy: Policy
    validation: Decided
    test: Decided


def fit(
    kind: Literal["none", "probability", "conformal"],
    level: float,
    truth_N: NDArray[np.int64],
    probabilities_NK: NDArray[np.floating],
) -> Policy | None:
    """The policy; call it with validation images. None where none is asked for, or without images."""
    n = len(truth_N)
    if kind == "none" or not n:
        return None
    if kind == "probability":
        value = temperature.fit(truth_N, probabilities_NK) or 1.0
        return Policy(kind=kind, level=level, threshold=level, temperature=value, n=n)
    return Policy(kind=kind, level=level, threshold=conformal.threshold(1 - level, truth_N, probabilities_NK), n=n)


def outcome(
    policy: Policy, truth_N: NDArray[np.int64], probabilities_NK: NDArray[np.floating], decided_N: NDArray[np.int64]
) -> Decided:
    """What the policy does to these images, whose classes without it would be `decided_N`."""
    is_decided_N = ~policy.abstains(probabilities_NK, decided_N)
    right, decided = int((is_decided_N & (decided_N == truth_N)).sum()), int(is_decided_N.sum())
    return Decided(n=len(truth_N), share=proportion(decided, len(truth_N)), accuracy=proportion(right, decided))
