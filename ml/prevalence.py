"""Prevalence: what the predictive values would be where another share of images is positive than among those scored."""

import math

from ml.config import Frozen
from ml.errors import BadConfig
from ml.intervals import Score


class PredictiveValues(Frozen):
    """Of the images called positive, the share that is; of those called negative, the share that is not."""

    prevalence: float
    ppv: Score
    npv: Score


def predictive_values(sensitivity: Score, specificity: Score, prevalence: float) -> PredictiveValues:
    """The predictive values at a prevalence, by Bayes' theorem; empty where a rate is undefined.

    logit(PPV) = log(sensitivity) - log(1 - specificity) + logit(prevalence), and likewise for the NPV (Mercaldo, Lau &
    Zhou 2007, Statistics in Medicine 26:2170). The bounds of the two rates, which come from different images, are put
    together on that scale by MOVER (Donner & Zou 2012), so that they hold near 0 and 1, too, where the delta method
    fails. Raises BadConfig for a prevalence that is not between 0 and 1.
    """
    if not 0 < prevalence < 1:
        raise BadConfig(f"The prevalence is {prevalence:g}; it must lie between 0 and 1, such as 0.01 for one in 100.")
    odds = math.log(prevalence / (1 - prevalence))
    return PredictiveValues(
        prevalence=prevalence,
        ppv=_predictive_value(sensitivity, _complement(specificity), odds),
        npv=_predictive_value(specificity, _complement(sensitivity), -odds),
    )


def _complement(score: Score) -> Score:
    if score.value is None or score.low is None or score.high is None:
        return Score()
    return Score(value=1 - score.value, low=1 - score.high, high=1 - score.low)


def _predictive_value(right: Score, wrong: Score, odds: float) -> Score:
    """From the share of rightly called images of one class and that of wrongly called ones of the other."""
    if None in (right.value, right.low, right.high, wrong.value, wrong.low, wrong.high):
        return Score()
    if not right.value and not wrong.value:  # nothing is ever called so
        return Score()
    right_logs = [_log(share) for share in (right.value, right.low, right.high)]
    wrong_logs = [_log(share) for share in (wrong.value, wrong.low, wrong.high)]
    value = right_logs[0] - wrong_logs[0] + odds
    below = _distance(right_logs[0], right_logs[1], wrong_logs[0], wrong_logs[2])
    above = _distance(right_logs[0], right_logs[2], wrong_logs[0], wrong_logs[1])
    # A rate of 0 is infinitely far away on this scale; both bounds at once are then the cautious answer.
    low = value - below if math.isfinite(below) else right_logs[1] - wrong_logs[2] + odds
    high = value + above if math.isfinite(above) else right_logs[2] - wrong_logs[1] + odds
    return Score(value=_probability(value), low=_probability(low), high=_probability(high))


def _log(share: float | None) -> float:
    return math.log(share) if share else -math.inf


def _distance(right: float, right_bound: float, wrong: float, wrong_bound: float) -> float:
    first = right - right_bound if right != right_bound else 0.0
    second = wrong - wrong_bound if wrong != wrong_bound else 0.0
    return math.hypot(first, second)


def _probability(logit: float) -> float:
    return (1 + math.tanh(logit / 2)) / 2
