"""Settled scores: each value joined with the interval that fits the images, independent or in groups.

Here are those of decisions and of rankings; `ml.beliefs` has those of the probabilities themselves.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml import clusters, intervals, ranking, replicates
from ml.clusters import Clusters
from ml.intervals import Score
from ml.ranking import Roc
from ml.replicates import Curve, Drawn, Statistic

_POINTS, _FEWEST_POINTS = 2000, 20  # of the ROC curves of all classes together, and of each


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
    others: Sequence[Statistic]

    @staticmethod
    def of(
        grouping: Clusters,
        truth_N: NDArray[np.int64],
        decided_N: NDArray[np.int64],
        probabilities_NK: NDArray[np.float64],
        positive: int | None,
        others: Sequence[Statistic] = (),
    ) -> "Settled":
        """The scores of these decisions; of `others` there are draws as well."""
        classes = probabilities_NK.shape[1]
        return Settled(
            clusters=grouping,
            truth_N=truth_N,
            decided_N=decided_N,
            probabilities_NK=probabilities_NK,
            labels=tuple(range(classes)) if positive is None else (positive,),
            counts_KK=np.bincount(truth_N * classes + decided_N, minlength=classes**2).reshape(classes, classes),
            others=others,
        )

    @functools.cached_property
    def drawn(self) -> Drawn:
        """Every draw of every score, made where the first of them is asked for."""
        if not len(self.truth_N):
            return {}
        is_ranked = self.clusters.is_clustered or len(self.labels) == 1
        ranked = ranking.rankable(self.truth_N, self.labels) if is_ranked else ()
        asked = (self.clusters, self.truth_N, self.decided_N, self.probabilities_NK)
        return replicates.scores(*asked, ranked, self.others)

    def accuracy(self) -> Score:
        right, n = float(self.counts_KK.trace()), len(self.truth_N)
        return self.by_formula("accuracy", lambda scale: share(right, n, scale), self.clusters.n)

    def recall(self, label: int) -> Score:
        right, true = self.counts_KK[label, label], self.counts_KK[label].sum()
        units = self.clusters.holding(self.truth_N == label)
        return self.by_formula(f"recall {label}", lambda scale: share(right, true, scale), units)

    def precision(self, label: int) -> Score:
        right, called = self.counts_KK[label, label], self.counts_KK[:, label].sum()
        units = self.clusters.holding(self.decided_N == label)
        return self.by_formula(f"precision {label}", lambda scale: share(right, called, scale), units)

    def specificity(self, label: int) -> Score:
        """Of the images that do not show the class, the share that is not called it."""
        rejected, others = self._rejected(label), len(self.truth_N) - self.counts_KK[label].sum()
        units = self.clusters.holding(self.truth_N != label)
        return self.by_formula(f"specificity {label}", lambda scale: share(rejected, others, scale), units)

    def npv(self, label: int) -> Score:
        """Of the images that are not called the class, the share that does not show it."""
        rejected, others = self._rejected(label), len(self.truth_N) - self.counts_KK[:, label].sum()
        units = self.clusters.holding(self.decided_N != label)
        return self.by_formula(f"npv {label}", lambda scale: share(rejected, others, scale), units)

    def f1(self, label: int) -> Score:
        units = self.clusters.holding((self.decided_N == label) | (self.truth_N == label))
        return self.by_formula(f"f1 {label}", lambda scale: self._plain_f1(label, scale), units)

    def macro_f1(self) -> Score:
        """Mean F1 of the classes that the images hold; no formula is known, so it is always drawn."""
        plain = intervals.mean_of_dependent([self._plain_f1(label, self.clusters.scale) for label in self._present()])
        return self.by_draws("macro_f1", plain, self._fewest())

    def balanced_accuracy(self) -> Score:
        return self.by_formula("balanced_accuracy", self._plain_balanced_accuracy, self._fewest())

    def mcc(self) -> Score:
        """Matthews' correlation. Where the draws agree, the bounds are those of Youden's index, to which it is near."""
        value = float(replicates.of_counts(*self._counted())["mcc"][0])
        if not np.isfinite(value):
            return Score()
        rates, classes = self._plain_balanced_accuracy(self.clusters.scale), len(self._present())
        low, high = ((classes * (bound or 0.0) - 1) / (classes - 1) for bound in (rates.low, rates.high))
        plain = Score(value=value, low=min(value, low), high=max(value, high))
        return self.by_draws("mcc", plain, self._fewest())

    def auc(self) -> Score:
        return self.by_formula(
            "auc",
            lambda scale: ranking.auc(self.truth_N, self.probabilities_NK, self.labels, scale),
            self._fewest(),
        )

    def auc_of(self, label: int) -> Score:
        """Area under the ROC curve of one class against the rest; with a positive class that of either is the same."""
        if len(self.labels) == 1:
            return self.auc()
        units = min(self.clusters.holding(self.truth_N == label), self.clusters.holding(self.truth_N != label))
        return self.by_formula(
            f"auc {label}",
            lambda scale: ranking.auc((self.truth_N == label).astype(int), self._against(label), [1], scale),
            units,
        )

    def roc_of(self, label: int) -> Roc | None:
        """The ROC curve of one of many classes against the rest; the more classes, the fewer points."""
        if len(self.labels) == 1:
            return None
        points = max(_FEWEST_POINTS, min(ranking.MAX_POINTS, _POINTS // len(self.labels)))
        return ranking.roc(self.truth_N == label, self.probabilities_NK[:, label], points)

    def average_precision(self) -> Score:
        return self.by_formula(
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
        plain = share(value * mine, mine, self.clusters.scale)
        return self.by_draws(f"{name} at {at:.2f}", plain, self._fewest())

    def by_formula(self, name: str, formula: Callable[[float], Score], units: int) -> Score:
        """The formula's score where images are independent, else its value with the bounds of what `name` drew."""
        if not self.clusters.is_clustered:
            return formula(1.0)
        return self.by_draws(name, formula(self.clusters.scale), units)

    def by_draws(self, name: str, plain: Score, units: int | None = None) -> Score:
        """The value of `plain` with the bounds of the draws, its own where those agree. `units`: groups, else all."""
        return clusters.interval(self.drawn.get(name, np.zeros(0)), self.clusters.n if units is None else units, plain)

    def _rejected(self, label: int) -> int:
        """Images that neither show the class nor are called it."""
        counts_KK = self.counts_KK
        return int(counts_KK.sum() - counts_KK[label].sum() - counts_KK[:, label].sum() + counts_KK[label, label])

    def _against(self, label: int) -> NDArray[np.float64]:
        """The probabilities of the rest and of one class, as columns."""
        probability_N = self.probabilities_NK[:, label]
        return np.stack([1 - probability_N, probability_N], axis=1)

    def _plain_f1(self, label: int, scale: float) -> Score:
        right, true, called = (float(count[0, label]) for count in self._counted())
        return intervals.f1(scale * right, scale * (called - right), scale * (true - right))

    def _plain_balanced_accuracy(self, scale: float) -> Score:
        shares = [share(self.counts_KK[label, label], self.counts_KK[label].sum(), scale) for label in self._present()]
        return intervals.mean_of_independent(shares)

    def _counted(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Right answers, images and calls of each class, as one row."""
        counts_KK = self.counts_KK.astype(float)
        return counts_KK.diagonal()[None], counts_KK.sum(axis=1)[None], counts_KK.sum(axis=0)[None]

    def _present(self) -> list[int]:
        return np.flatnonzero(self.counts_KK.sum(axis=1)).tolist()

    def _fewest(self) -> int:
        """Groups that hold the class which the fewest hold."""
        return min((self.clusters.holding(self.truth_N == label) for label in self._present()), default=0)


def share(successes: float, n: float, scale: float) -> Score:
    """A share of images each of which is worth `scale` independent ones."""
    return intervals.proportion(scale * float(successes), scale * float(n))
