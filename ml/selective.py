"""Selective answers: how often the model errs where it answers only the images that it is surest of."""

import numpy as np
from numpy.typing import NDArray

from ml.config import Frozen
from ml.decisions import DEFAULT_THRESHOLD, OperatingPoint
from ml.intervals import Score

MAX_POINTS = 100
_EDGE = 1e-9  # probabilities of 0 and 1 have no logit


class RiskCoverage(Frozen):
    """Share of errors (`risk`) among the share of images answered (`coverage`), surest first; thinned for drawing."""

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    aurc: Score  # area under the curve: 0 is best, the error rate is what sureness that says nothing would give


def sureness(
    probabilities_NK: NDArray[np.float64], positive: int | None, operating_point: OperatingPoint | None
) -> NDArray[np.float64]:
    """How sure each decision is: distance from the threshold in logits, or the highest probability of many classes."""
    if positive is None:
        return probabilities_NK.max(axis=1, initial=0)
    threshold = operating_point.threshold if operating_point else DEFAULT_THRESHOLD
    return np.abs(_logit(probabilities_NK[:, positive]) - _logit(np.array(threshold)))


def risks(is_error_N: NDArray[np.bool_], sureness_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of errors among the n surest images, for n = 1 to N. Equally sure images come in no order: on average."""
    order_N = np.argsort(-sureness_N, kind="stable")
    run_N = np.cumsum(np.diff(sureness_N[order_N], prepend=np.nan) != 0) - 1 if len(order_N) else order_N
    of_run = np.bincount(run_N, is_error_N[order_N]) / np.maximum(np.bincount(run_N), 1)
    return of_run[run_N].cumsum() / np.arange(1, len(run_N) + 1)


def risk_coverage(risk_N: NDArray[np.float64], aurc: Score) -> RiskCoverage | None:
    """The curve of Geifman & El-Yaniv (2017) from `risks`; None without images."""
    if not len(risk_N):
        return None
    kept = np.unique(np.linspace(0, len(risk_N) - 1, MAX_POINTS).round().astype(int))
    return RiskCoverage(
        coverage=tuple(((kept + 1) / len(risk_N)).tolist()), risk=tuple(risk_N[kept].tolist()), aurc=aurc
    )


def area_under_risk(
    is_error_N: NDArray[np.bool_], sureness_N: NDArray[np.float64], weight_BN: NDArray[np.float32] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """AURC of each draw of images."""
    order_N = np.argsort(-sureness_N, kind="stable")
    weight_BN = weight_BN.take(order_N, axis=1)
    seen_BN = weight_BN.cumsum(axis=1)
    risk_BN = (weight_BN * is_error_N[order_N]).cumsum(axis=1) / np.maximum(seen_BN, 1)
    return np.asarray(np.einsum("bn,bn->b", weight_BN, risk_BN) / np.maximum(seen_BN[:, -1], 1), np.float64)


def _logit(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(probability, _EDGE, 1 - _EDGE)
    return np.log(inside / (1 - inside))
