"""Beliefs: the scores of the probabilities themselves, beside those of the decisions and rankings made with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml import calibration, conformal, netbenefit, selective
from ml.calibration import Calibration, CalibrationBin
from ml.conformal import ConformalRule, ConformalScores
from ml.decisions import OperatingPoint
from ml.intervals import Score
from ml.netbenefit import DecisionCurve
from ml.replicates import Buckets, Drawn, Statistic, Weights
from ml.selective import RiskCoverage
from ml.settled import Settled, share


@dataclass(frozen=True)
class Beliefs:
    """What is drawn of the probabilities (`statistics`), and the scores of a `Settled` that drew it."""

    truth_N: NDArray[np.int64]
    decided_N: NDArray[np.int64]
    probabilities_NK: NDArray[np.float64]
    positive: int | None
    squares_N: NDArray[np.float64]  # of two classes those of one, of many the sum over all
    is_error_N: NDArray[np.bool_]
    sureness_N: NDArray[np.float64]
    rules: tuple[ConformalRule, ...]
    in_sets: tuple[NDArray[np.bool_], ...]  # for each rule: which classes are in the set of each image
    covers: tuple[NDArray[np.bool_], ...]  # whose sets hold the truth

    @staticmethod
    def of(
        truth_N: NDArray[np.int64],
        decided_N: NDArray[np.int64],
        probabilities_NK: NDArray[np.float64],
        positive: int | None,
        operating_point: OperatingPoint | None,
        rules: Sequence[ConformalRule],
    ) -> "Beliefs":
        """The beliefs behind these decisions; `rules` are conformal rules that other images fixed."""
        in_sets = tuple(conformal.sets(rule, probabilities_NK) for rule in rules)
        return Beliefs(
            truth_N=truth_N,
            decided_N=decided_N,
            probabilities_NK=probabilities_NK,
            positive=positive,
            squares_N=calibration.squares(truth_N, probabilities_NK) / (1 if positive is None else 2),
            is_error_N=truth_N != decided_N,
            sureness_N=selective.sureness(probabilities_NK, positive, operating_point),
            rules=tuple(rules),
            in_sets=in_sets,
            covers=tuple(is_in_NK[np.arange(len(truth_N)), truth_N] for is_in_NK in in_sets),
        )

    def statistics(self) -> list[Statistic]:
        sizes = [is_in_NK.sum(axis=1) for is_in_NK in self.in_sets]
        means: dict[str, NDArray[Any]] = {"brier": self.squares_N}
        means |= {f"coverage {number}": holds_N for number, holds_N in enumerate(self.covers)}
        means |= {f"set size {number}": size_N for number, size_N in enumerate(sizes)}
        means |= {f"one class {number}": size_N == 1 for number, size_N in enumerate(sizes)}
        means |= {f"no class {number}": size_N == 0 for number, size_N in enumerate(sizes)}
        found: list[Statistic] = [_means(means), self._drawn_aurc, _bins(*self._believed())]
        if self.positive is not None:
            found.append(_net_benefits(*self._believed()))
        return found

    def _believed(self) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """What the calibration speaks of: whether it happened, and its probability."""
        if self.positive is not None:
            return self.truth_N == self.positive, self.probabilities_NK[:, self.positive]
        of_decided_N = np.take_along_axis(self.probabilities_NK, self.decided_N[:, None], axis=1)[:, 0]
        return self.decided_N == self.truth_N, of_decided_N

    def _drawn_aurc(self, weight_BN: Weights) -> Drawn:
        return {"aurc": selective.area_under_risk(self.is_error_N, self.sureness_N, weight_BN)}

    def calibration(self, settled: Settled) -> Calibration:
        """The calibration with the interval of each bin."""
        group_N = settled.clusters.group_N
        if self.positive is None:
            found = calibration.of_decided_class(self.truth_N, self.probabilities_NK, self.decided_N, group_N)
        else:
            found = calibration.of_positive_class(*self._believed(), group_N)
        bin_N = calibration.bin_of(self._believed()[1])
        bins = [
            one.model_copy(update={"observed": self._observed(settled, number, one, bin_N == number)})
            for number, one in enumerate(found.bins)
        ]
        return found.model_copy(update={"bins": tuple(bins)})

    def _observed(self, settled: Settled, number: int, one: CalibrationBin, is_in_N: NDArray[np.bool_]) -> Score:
        happened = one.n * (one.frequency or 0.0)
        return settled.by_formula(
            f"bin {number}", lambda scale: share(happened, one.n, scale), settled.clusters.holding(is_in_N)
        )

    def ece(self, settled: Settled, value: float | None) -> Score:
        """The error; chance alone moves it up, and in the draws once more, so its lower bound mirrors the upper one.

        Where the draws agree, the bounds are those of a share.
        """
        if value is None:
            return Score()
        n = len(self.truth_N)
        found = settled.by_draws("ece", share(value * n, n, settled.clusters.scale))
        high = found.high or value
        return Score(value=value, low=max(0.0, min(found.low or 0.0, 2 * value - high)), high=high)

    def decision_curve(self, settled: Settled) -> DecisionCurve | None:
        """The curve with the interval of the model; None without a positive class, or images of both."""
        curve = None if self.positive is None else netbenefit.decision_curve(*self._believed())
        if curve is None:
            return None
        is_positive_N, probability_N = self._believed()
        positives, negatives = int(is_positive_N.sum()), int((~is_positive_N).sum())
        units = min(settled.clusters.holding(is_positive_N), settled.clusters.holding(~is_positive_N))
        bounds = []
        for number, at in enumerate(curve.thresholds):
            is_acted_N = probability_N >= at
            found, alarms = int((is_acted_N & is_positive_N).sum()), int((is_acted_N & ~is_positive_N).sum())

            def plain(scale: float, at: float = at, found: int = found, alarms: int = alarms) -> Score:
                rates = share(found, positives, scale), share(alarms, negatives, scale)
                return netbenefit.by_rates(positives / len(is_positive_N), at, *rates)

            bounds.append(settled.by_formula(f"net benefit {number}", plain, units))
        low, high = (tuple(float(getattr(score, side) or 0.0) for score in bounds) for side in ("low", "high"))
        return curve.model_copy(update={"low": low, "high": high})

    def brier(self, settled: Settled) -> Score:
        """Where the draws agree, the bounds are Wilson's, which are wide for a mean of squares."""
        if not len(self.squares_N):
            return Score()
        most = 2.0 if self.positive is None else 1.0
        plain = share(self.squares_N.sum() / most, len(self.squares_N), settled.clusters.scale)
        return settled.by_draws("brier", _times(plain, most))

    def risk_coverage(self, settled: Settled) -> RiskCoverage | None:
        """The curve with the area under it; None without images."""
        if not len(self.is_error_N):
            return None
        risk_N = selective.risks(self.is_error_N, self.sureness_N)
        value = float(risk_N.mean())
        errors = share(self.is_error_N.sum(), len(self.is_error_N), settled.clusters.scale)
        plain = Score(value=value, low=0.0, high=max(value, errors.high or 0.0))
        return selective.risk_coverage(risk_N, settled.by_draws("aurc", plain))

    def conformal(self, settled: Settled, number: int) -> ConformalScores:
        """The scores of one conformal rule; where the draws agree on the size of sets, its bounds are a share's."""
        size_N, classes = self.in_sets[number].sum(axis=1), self.probabilities_NK.shape[1]
        plain = share(size_N.sum() / classes, len(size_N), settled.clusters.scale)
        return conformal.scores(
            self.rules[number],
            coverage=_share_of(settled, f"coverage {number}", self.covers[number]),
            set_size=settled.by_draws(f"set size {number}", _times(plain, classes)),
            one_class=_share_of(settled, f"one class {number}", size_N == 1),
            no_class=_share_of(settled, f"no class {number}", size_N == 0),
        )


def _share_of(settled: Settled, name: str, is_so_N: NDArray[np.bool_]) -> Score:
    return settled.by_formula(name, lambda scale: share(is_so_N.sum(), len(is_so_N), scale), settled.clusters.n)


def _times(score: Score, factor: float) -> Score:
    return Score(**{name: None if bound is None else factor * bound for name, bound in score})


def _means(values: Mapping[str, NDArray[Any]]) -> Statistic:
    """The mean of each of these over the images drawn."""
    value_NS = np.stack(list(values.values()), axis=1).astype(np.float32)

    def drawn(weight_BN: Weights) -> Drawn:
        mean_BS = np.asarray(weight_BN @ value_NS / weight_BN.sum(axis=1, keepdims=True), np.float64)
        return dict(zip(values, mean_BS.T, strict=True))

    return drawn


def _bins(happened_N: NDArray[np.bool_], probability_N: NDArray[np.float64]) -> Statistic:
    """The frequency in each bin, and the mean distance to the probability over all of them."""
    buckets = Buckets.of(calibration.bin_of(probability_N), calibration.BINS)
    said_N = probability_N.astype(np.float32)

    def drawn(weight_BN: Weights) -> Drawn:
        n_BQ, happened_BQ = buckets.sums(weight_BN), buckets.sums(weight_BN * happened_N)
        far_BQ = np.abs(happened_BQ - buckets.sums(weight_BN * said_N))
        frequency_BQ = np.divide(happened_BQ, n_BQ, out=np.full_like(n_BQ, np.nan), where=n_BQ > 0)
        bins = {f"bin {number}": frequency_B for number, frequency_B in enumerate(frequency_BQ.T)}
        return bins | {"ece": far_BQ.sum(axis=1) / n_BQ.sum(axis=1)}

    return drawn


def _net_benefits(is_positive_N: NDArray[np.bool_], probability_N: NDArray[np.float64]) -> Statistic:
    """Net benefit at each threshold, at the prevalence of all images. NaN where a draw lacks a class."""
    threshold_T = np.array(netbenefit.THRESHOLDS)
    passed_N = np.searchsorted(threshold_T, probability_N, side="right")
    buckets = Buckets.of(passed_N, len(threshold_T) + 1)
    prevalence = is_positive_N.sum() / max(1, len(is_positive_N))
    cost_T = (1 - prevalence) * threshold_T / (1 - threshold_T)

    def drawn(weight_BN: Weights) -> Drawn:
        found_BT, alarms_BT = (_acted(buckets.sums(weight_BN * is_so_N)) for is_so_N in (is_positive_N, ~is_positive_N))
        benefit_BT = prevalence * found_BT - cost_T * alarms_BT
        return {f"net benefit {number}": benefit_B for number, benefit_B in enumerate(benefit_BT.T)}

    return drawn


def _acted(sum_BQ: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of images by how many thresholds they pass, the share that passes each one; NaN without images."""
    passed_BQ = sum_BQ[:, ::-1].cumsum(axis=1)[:, ::-1]
    n_B1 = passed_BQ[:, :1]
    share_BT: NDArray[np.float64] = np.divide(
        passed_BQ[:, 1:], n_B1, out=np.full_like(passed_BQ[:, 1:], np.nan), where=n_B1 > 0
    )
    return share_BT
