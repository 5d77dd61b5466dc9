"""Beliefs: the scores of the probabilities themselves, beside those of the decisions and rankings made with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ml import calibration, conformal, selective
from ml.conformal import ConformalRule, ConformalScores
from ml.decisions import OperatingPoint
from ml.intervals import Score
from ml.replicates import Drawn, Statistic, Weights
from ml.selective import RiskCoverage
from ml.settled import Settled, share


@dataclass(frozen=True)
class Beliefs:
    """What is drawn of the probabilities (`statistics`), and the scores of a `Settled` that drew it."""

    squares_N: NDArray[np.float64]  # of two classes those of one, of many the sum over all
    most: float  # that a square can be
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
        most = 2.0 if positive is None else 1.0
        return Beliefs(
            squares_N=calibration.squares(truth_N, probabilities_NK) * most / 2,
            most=most,
            is_error_N=truth_N != decided_N,
            sureness_N=selective.sureness(probabilities_NK, positive, operating_point),
            rules=tuple(rules),
            in_sets=in_sets,
            covers=tuple(is_in_NK[np.arange(len(truth_N)), truth_N] for is_in_NK in in_sets),
        )

    def statistics(self) -> list[Statistic]:
        found: list[Statistic] = [partial(_mean, "brier", self.squares_N), self._drawn_aurc]
        return found + [partial(_mean, f"coverage {number}", holds_N) for number, holds_N in enumerate(self.covers)]

    def _drawn_aurc(self, weight_BN: Weights) -> Drawn:
        return {"aurc": selective.area_under_risk(self.is_error_N, self.sureness_N, weight_BN)}

    def brier(self, settled: Settled) -> Score:
        """Where the draws agree, the bounds are Wilson's, which are wide for a mean of squares."""
        if not len(self.squares_N):
            return Score()
        plain = share(self.squares_N.sum() / self.most, len(self.squares_N), settled.clusters.scale)
        return settled.by_draws("brier", Score(**{name: self.most * (bound or 0.0) for name, bound in plain}))

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
        """The scores of one conformal rule."""
        holds_N = self.covers[number]
        coverage = settled.by_formula(
            f"coverage {number}", lambda scale: share(holds_N.sum(), len(holds_N), scale), settled.clusters.n
        )
        return conformal.scores(self.rules[number], self.in_sets[number], coverage)


def _mean(name: str, value_N: NDArray[np.float64] | NDArray[np.bool_], weight_BN: Weights) -> Drawn:
    return {name: np.asarray(weight_BN @ value_N.astype(weight_BN.dtype) / weight_BN.sum(axis=1), np.float64)}
