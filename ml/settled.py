"""Settled scores: each value joined with the interval that fits the images, independent or in groups."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml import calibration, clusters, intervals, ranking, replicates, selective
from ml.clusters import Clusters
from ml.intervals import Score
from ml.replicates import Curve, Drawn, Weights


@dataclass(frozen=True)
class Settled:
    """The scores of one set of decisions, by method; every one may be empty.

    Without groups of several images an interval is that of a formula where there is one. With them it is that of the
    draws, and the formula, fed with as many images as there would be if a group were one, is used where those agree.
    """

    clusters: Clusters
    truth_N: NDArray[np.int64]
    decided_N: NDArray[np.int64]
    probabilities_NK: NDArray[np.float64]
    labels: tuple[int, ...]  # whose ranking counts
    counts_KK: NDArray[np.int64]
    squares_N: NDArray[np.float64]
    is_error_N: NDArray[np.bool_]
    sureness_N: NDArray[np.float64]
    covers: tuple[NDArray[np.bool_], ...]  # whose sets hold the truth, for each conformal rule
    drawn: Drawn

    @staticmethod
    def of(
        grouping: Clusters,
        truth_N: NDArray[np.int64],
        decided_N: NDArray[np.int64],
        probabilities_NK: NDArray[np.float64],
        positive: int | None,
        sureness_N: NDArray[np.float64],
        in_sets: Sequence[NDArray[np.bool_]],
    ) -> "Settled":
        """The scores of these decisions, with all draws made."""
        n, classes = probabilities_NK.shape
        labels = tuple(range(classes)) if positive is None else (positive,)
        is_error_N = truth_N != decided_N
        squares_N = calibration.squares(truth_N, probabilities_NK) / (1 if positive is None else 2)
        covers = tuple(is_in_NK[np.arange(n), truth_N] for is_in_NK in in_sets)
        others: dict[str, Callable[[Weights], NDArray[np.float64]]] = {
            "brier": lambda weight_BN: _mean(squares_N, weight_BN),
            "aurc": lambda weight_BN: selective.area_under_risk(is_error_N, sureness_N, weight_BN),
        }
        for number, holds_N in enumerate(covers):
            others[f"coverage {number}"] = lambda weight_BN, holds_N=holds_N: _mean(holds_N, weight_BN)  # type: ignore[misc]
        ranked = ranking.rankable(truth_N, labels) if grouping.is_clustered or positive is not None else ()
        drawn = replicates.scores(grouping, truth_N, decided_N, probabilities_NK, ranked, others) if n else {}
        return Settled(
            clusters=grouping,
            truth_N=truth_N,
            decided_N=decided_N,
            probabilities_NK=probabilities_NK,
            labels=labels,
            counts_KK=np.bincount(truth_N * classes + decided_N, minlength=classes**2).reshape(classes, classes),
            squares_N=squares_N,
            is_error_N=is_error_N,
            sureness_N=sureness_N,
            covers=covers,
            drawn=drawn,
        )

    def accuracy(self) -> Score:
        right, n = float(self.counts_KK.trace()), len(self.truth_N)
        return self._by_formula("accuracy", lambda scale: intervals.proportion(scale * right, scale * n), self._all())

    def recall(self, label: int) -> Score:
        right, true = self.counts_KK[label, label], self.counts_KK[label].sum()
        units = self.clusters.holding(self.truth_N == label)
        return self._by_formula(f"recall {label}", lambda scale: _share(right, true, scale), units)

    def precision(self, label: int) -> Score:
        right, called = self.counts_KK[label, label], self.counts_KK[:, label].sum()
        units = self.clusters.holding(self.decided_N == label)
        return self._by_formula(f"precision {label}", lambda scale: _share(right, called, scale), units)

    def f1(self, label: int) -> Score:
        units = self.clusters.holding((self.decided_N == label) | (self.truth_N == label))
        return self._by_formula(f"f1 {label}", lambda scale: self._plain_f1(label, scale), units)

    def macro_f1(self) -> Score:
        """Mean F1 of the classes that the images hold; no formula is known, so it is always drawn."""
        plain = intervals.mean_of_dependent([self._plain_f1(label, self.clusters.scale) for label in self._present()])
        return clusters.interval(self._drawn("macro_f1"), self._fewest(), plain)

    def balanced_accuracy(self) -> Score:
        return self._by_formula("balanced_accuracy", self._plain_balanced_accuracy, self._fewest())

    def mcc(self) -> Score:
        """Matthews' correlation. Where the draws agree, the bounds are those of Youden's index, to which it is near."""
        value = float(replicates.of_counts(*self._counted())["mcc"][0])
        if not np.isfinite(value):
            return Score()
        rates, classes = self._plain_balanced_accuracy(self.clusters.scale), len(self._present())
        low, high = ((classes * (bound or 0.0) - 1) / (classes - 1) for bound in (rates.low, rates.high))
        plain = Score(value=value, low=min(value, low), high=max(value, high))
        return clusters.interval(self._drawn("mcc"), self._fewest(), plain)

    def auc(self) -> Score:
        return self._by_formula(
            "auc",
            lambda scale: ranking.auc(self.truth_N, self.probabilities_NK, self.labels, scale),
            self._fewest(),
        )

    def average_precision(self) -> Score:
        return self._by_formula(
            "average_precision",
            lambda scale: ranking.average_precision(self.truth_N, self.probabilities_NK, self.labels, scale),
            self._fewest(),
        )

    def at_fixed(self, name: str, at: float) -> Score:
        """Sensitivity at a fixed specificity, or the other way round: the best point of the same images' ROC curve."""
        if len(self.labels) != 1 or not ranking.rankable(self.truth_N, self.labels):
            return Score()
        (label,) = self.labels
        curve = Curve.of(self.truth_N == label, self.probabilities_NK[:, label])
        value = float(curve.counted(np.ones((1, len(self.truth_N)))).at_fixed()[f"{name} at {at:.2f}"][0])
        mine = int(((self.truth_N == label) == (name == "sensitivity")).sum())
        return clusters.interval(
            self._drawn(f"{name} at {at:.2f}"), self._fewest(), _share(value * mine, mine, self.clusters.scale)
        )

    def brier(self) -> Score:
        """Where the draws agree, the bounds are Wilson's, which are wide for a mean of squares."""
        if not len(self.squares_N):
            return Score()
        most = 2.0 if len(self.labels) > 1 else 1.0
        share = _share(self.squares_N.sum() / most, len(self.squares_N), self.clusters.scale)
        plain = Score(**{name: most * (bound or 0.0) for name, bound in share})
        return clusters.interval(self._drawn("brier"), self._all(), plain)

    def aurc(self) -> Score:
        if not len(self.truth_N):
            return Score()
        value = float(selective.risks(self.is_error_N, self.sureness_N).mean())
        errors = intervals.proportion(
            self.clusters.scale * self.is_error_N.sum(), self.clusters.scale * len(self.truth_N)
        )
        plain = Score(value=value, low=0.0, high=max(value, errors.high or 0.0))
        return clusters.interval(self._drawn("aurc"), self._all(), plain)

    def coverage(self, number: int) -> Score:
        """Share of conformal sets that hold the truth."""
        holds_N = self.covers[number]
        return self._by_formula(
            f"coverage {number}", lambda scale: _share(holds_N.sum(), len(holds_N), scale), self._all()
        )

    def _by_formula(self, name: str, formula: Callable[[float], Score], units: int) -> Score:
        if not self.clusters.is_clustered:
            return formula(1.0)
        return clusters.interval(self._drawn(name), units, formula(self.clusters.scale))

    def _plain_f1(self, label: int, scale: float) -> Score:
        right, true, called = (float(count[0, label]) for count in self._counted())
        return intervals.f1(scale * right, scale * (called - right), scale * (true - right))

    def _plain_balanced_accuracy(self, scale: float) -> Score:
        shares = [_share(self.counts_KK[label, label], self.counts_KK[label].sum(), scale) for label in self._present()]
        return intervals.mean_of_independent(shares)

    def _counted(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Right answers, images and calls of each class, as one row."""
        counts_KK = self.counts_KK.astype(float)
        return counts_KK.diagonal()[None], counts_KK.sum(axis=1)[None], counts_KK.sum(axis=0)[None]

    def _present(self) -> list[int]:
        return np.flatnonzero(self.counts_KK.sum(axis=1)).tolist()

    def _all(self) -> int:
        return self.clusters.n

    def _fewest(self) -> int:
        """Groups that hold the class which the fewest hold."""
        return min((self.clusters.holding(self.truth_N == label) for label in self._present()), default=0)

    def _drawn(self, name: str) -> NDArray[np.float64]:
        return self.drawn.get(name, np.zeros(0))


def _share(successes: float, n: float, scale: float) -> Score:
    return intervals.proportion(scale * float(successes), scale * float(n))


def _mean(value_N: NDArray[np.float64] | NDArray[np.bool_], weight_BN: Weights) -> NDArray[np.float64]:
    return np.asarray(weight_BN @ value_N.astype(weight_BN.dtype) / weight_BN.sum(axis=1), np.float64)
