"""Replicates: every score of every bootstrap draw, many draws at once. Axis B: draws; T: distinct probabilities."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.clusters import Clusters

FIXED = (0.80, 0.90, 0.95)  # specificities at which sensitivity is read from the ROC curve, and the other way round

_ROUNDING = 1e-6  # 0.9 of 10 images is 9, whatever binary fractions say

Weights = NDArray[np.float32] | NDArray[np.float64]
Drawn = dict[str, NDArray[np.float64]]
Statistic = Callable[[Weights], Drawn]  # of weight_BN


@dataclass(frozen=True)
class Curve:
    """A ranking of images by falling probability, to be counted with other weights again and again.

    Only the distinct probabilities that a positive image has are needed: between them no score changes for the better.
    """

    order_N: NDArray[np.int64]
    positive_P: NDArray[np.int64]  # the positive images, in that order
    first_T: NDArray[np.int64]  # of the positive images of each such probability, where in `positive_P`
    start_T: NDArray[np.int64]  # of all images of each such probability, where in `order_N`
    end_T: NDArray[np.int64]  # where the last one is

    @staticmethod
    def of(is_positive_N: NDArray[np.bool_], probability_N: NDArray[np.float64]) -> "Curve":
        """Needs at least one positive image."""
        order_N = np.argsort(-probability_N, kind="stable")
        falling_N = -probability_N[order_N]
        positive_P = order_N[is_positive_N[order_N]]
        value_T, first_T = np.unique(-probability_N[positive_P], return_index=True)
        return Curve(
            order_N=order_N,
            positive_P=positive_P,
            first_T=first_T,
            start_T=np.searchsorted(falling_N, value_T, "left"),
            end_T=np.searchsorted(falling_N, value_T, "right") - 1,
        )

    def counted(self, weight_BN: Weights) -> "Counts":
        """Positives and negatives at each probability, counted with weights."""
        seen_BN = weight_BN.take(self.order_N, axis=1).cumsum(axis=1)
        seen_BT = seen_BN.take(self.end_T, axis=1)
        earlier_BT = seen_BN.take(np.maximum(self.start_T - 1, 0), axis=1) * (self.start_T > 0)
        positive_BT = np.add.reduceat(weight_BN.take(self.positive_P, axis=1), self.first_T, axis=1)
        positives_BT = positive_BT.cumsum(axis=1)
        return Counts(
            positive_BT=positive_BT,
            positives_BT=positives_BT,
            positives_B=positives_BT[:, -1].astype(float),
            negative_BT=seen_BT - earlier_BT - positive_BT,
            negatives_BT=seen_BT - positives_BT,
            negatives_B=(seen_BN[:, -1] - positives_BT[:, -1]).astype(float),
        )


@dataclass(frozen=True)
class Buckets:
    """Images in numbered buckets, to be added up with other weights again and again."""

    n: int
    order_N: NDArray[np.int64]
    filled_F: NDArray[np.int64]  # the buckets with images
    first_F: NDArray[np.int64]  # where in `order_N` their images begin

    @staticmethod
    def of(bucket_N: NDArray[np.int64], n: int) -> "Buckets":
        """From the number of each image's bucket, from 0 to `n` - 1. Needs at least one image."""
        order_N = np.argsort(bucket_N, kind="stable")
        filled_F, first_F = np.unique(bucket_N[order_N], return_index=True)
        return Buckets(n, order_N, filled_F, first_F)

    def sums(self, value_BN: Weights) -> NDArray[np.float64]:
        """The sum over the images of each bucket, in each draw."""
        sum_BQ = np.zeros((len(value_BN), self.n))
        sum_BQ[:, self.filled_F] = np.add.reduceat(value_BN.take(self.order_N, axis=1), self.first_F, axis=1)
        return sum_BQ


@dataclass(frozen=True)
class Counts:
    """Images at each probability (`positive`), at least at each (`positives`), and all of them; of either kind."""

    positive_BT: Weights
    positives_BT: Weights
    positives_B: NDArray[np.float64]
    negative_BT: Weights
    negatives_BT: Weights
    negatives_B: NDArray[np.float64]

    def area(self) -> NDArray[np.float64]:
        """Area under each ROC curve: the pairs in the right order, a tie counts half. NaN where a class is absent."""
        lost_BT = self.negatives_BT - self.negative_BT / 2
        lost_B = np.einsum("bt,bt->b", self.positive_BT, lost_BT)
        return 1 - _ratio(lost_B, self.positives_B * self.negatives_B)

    def average_precision(self) -> NDArray[np.float64]:
        """Area under each precision-recall curve, as a step function."""
        precision_BT = self.positives_BT / np.maximum(self.positives_BT + self.negatives_BT, 1)
        return _ratio(np.einsum("bt,bt->b", self.positive_BT, precision_BT), self.positives_B)

    def sensitivity_at(self, specificity: float) -> NDArray[np.float64]:
        """The highest sensitivity of any threshold whose specificity is at least so high; 0 where none is."""
        allowed_B = (1 - specificity) * self.negatives_B + _ROUNDING
        reached_B = _count(self.negatives_BT <= allowed_B[:, None])
        found_B = self.positives_BT[np.arange(len(reached_B)), np.maximum(reached_B - 1, 0)]
        share_B = _ratio(np.where(reached_B > 0, found_B, 0), self.positives_B)
        return np.where(self.negatives_B > 0, share_B, np.nan)

    def specificity_at(self, sensitivity: float) -> NDArray[np.float64]:
        """The highest specificity of any threshold whose sensitivity is at least so high."""
        wanted_B = sensitivity * self.positives_B - _ROUNDING
        short_B = _count(self.positives_BT < wanted_B[:, None])
        alarms_B = self.negatives_BT[np.arange(len(short_B)), short_B]
        return np.where(self.positives_B > 0, 1 - _ratio(alarms_B, self.negatives_B), np.nan)

    def at_fixed(self) -> Drawn:
        """Sensitivity at fixed specificities and the other way round."""
        return {
            **{f"sensitivity at {at:.2f}": self.sensitivity_at(at) for at in FIXED},
            **{f"specificity at {at:.2f}": self.specificity_at(at) for at in FIXED},
        }


def of_counts(right_BK: NDArray[np.float64], true_BK: NDArray[np.float64], called_BK: NDArray[np.float64]) -> Drawn:
    """Scores of confusion matrices, of which each class's right answers, its images and its calls are needed.

    The correlation is Matthews' (1975) in the form of many classes by Gorodkin (2004).
    """
    total_B, hits_B = true_BK.sum(axis=1), right_BK.sum(axis=1)
    recall_BK, precision_BK = _ratio(right_BK, true_BK), _ratio(right_BK, called_BK)
    f1_BK = _ratio(2 * right_BK, true_BK + called_BK)
    rejected_BK = total_B[:, None] - true_BK - called_BK + right_BK  # neither shown nor called
    specificity_BK = _ratio(rejected_BK, total_B[:, None] - true_BK)
    npv_BK = _ratio(rejected_BK, total_B[:, None] - called_BK)
    is_present_BK = true_BK > 0
    spread_B = (total_B**2 - (called_BK**2).sum(axis=1)) * (total_B**2 - (true_BK**2).sum(axis=1))
    return {
        "accuracy": _ratio(hits_B, total_B),
        "balanced_accuracy": _mean_where(recall_BK, is_present_BK),
        "macro_f1": _mean_where(f1_BK, is_present_BK),
        "mcc": _ratio(hits_B * total_B - (called_BK * true_BK).sum(axis=1), np.sqrt(spread_B)),
        **{f"recall {label}": recall_BK[:, label] for label in range(right_BK.shape[1])},
        **{f"precision {label}": precision_BK[:, label] for label in range(right_BK.shape[1])},
        **{f"f1 {label}": f1_BK[:, label] for label in range(right_BK.shape[1])},
        **{f"specificity {label}": specificity_BK[:, label] for label in range(right_BK.shape[1])},
        **{f"npv {label}": npv_BK[:, label] for label in range(right_BK.shape[1])},
    }


def scores(
    clusters: Clusters,
    truth_N: NDArray[np.int64],
    decided_N: NDArray[np.int64],
    probabilities_NK: NDArray[np.float64],
    curves: Sequence[int],
    others: Sequence[Statistic] = (),
) -> Drawn:
    """Every score in every draw. `curves` are the labels whose ranking counts; `others` draw what else is wanted."""
    rankings = [Curve.of(truth_N == label, probabilities_NK[:, label]) for label in curves]
    shown = _indicators(truth_N, decided_N, probabilities_NK.shape[1])
    parts: list[Drawn] = []
    for weight_BN in clusters.draws():
        part = of_counts(*((weight_BN @ is_so_NK).astype(float) for is_so_NK in shown))
        counted = [ranking.counted(weight_BN) for ranking in rankings]
        if counted:
            areas = [counts.area() for counts in counted]
            part["auc"] = _mean(areas)
            part |= {f"auc {label}": area_B for label, area_B in zip(curves, areas, strict=True)}
            part["average_precision"] = _mean([counts.average_precision() for counts in counted])
        if len(counted) == 1:
            part |= counted[0].at_fixed()
        for statistic in others:
            part |= statistic(weight_BN)
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _indicators(truth_N: NDArray[np.int64], decided_N: NDArray[np.int64], classes: int) -> list[NDArray[np.float32]]:
    """Which images are rightly named as, truly show, and are called each class, as is_so_NK."""
    right_N = np.where(truth_N == decided_N, truth_N, -1)
    return [(label_N[:, None] == np.arange(classes)).astype(np.float32) for label_N in (right_N, truth_N, decided_N)]


def _count(is_so_BT: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.count_nonzero(is_so_BT, axis=1)


def _ratio(above: Weights, below: Weights) -> NDArray[np.float64]:
    """NaN where it is undefined."""
    return np.divide(above, below, out=np.full_like(above, np.nan, dtype=float), where=below > 0)


def _mean_where(value_BK: NDArray[np.float64], counts_BK: NDArray[np.bool_]) -> NDArray[np.float64]:
    return _ratio(np.where(counts_BK, value_BK, 0).sum(axis=1), counts_BK.sum(axis=1))


def _mean(columns: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Mean of the defined ones in each draw."""
    value_BK = np.stack(columns, axis=1)
    return _mean_where(value_BK, np.isfinite(value_BK))
