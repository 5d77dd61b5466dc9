"""Temperature: one number that makes all probabilities less sure, or surer, and changes no ranking within an image.

It is fitted and reported, not applied: what the version serves stays what was exported.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml import calibration
from ml.config import Frozen

LOWEST, HIGHEST = 0.05, 20.0
_TINY = 1e-12


class Believability(Frozen):
    """Expected calibration error and log-loss (mean negative logarithm of the truth's probability); 0 is best."""

    ece: float | None
    log_loss: float | None


class BeforeAfter(Frozen):
    """Scores of the probabilities as they are served, and divided by the temperature."""

    before: Believability
    after: Believability


class Temperature(Frozen):
    """The temperature: above 1 the model is too sure of itself. Test images only report."""

    value: float
    fitted_on: Literal["validation"] = "validation"
    validation: BeforeAfter
    test: BeforeAfter


def fit(truth_N: NDArray[np.int64], probabilities_NK: NDArray[np.floating]) -> float | None:
    """The temperature of the lowest log-loss (Guo et al. 2017); call it with validation images.

    Logits are known from probabilities up to a constant, which the softmax takes away. The loss is convex in 1 / T, so
    bisection of its slope finds the minimum. None without images, and where the best lies outside 0.05 to 20: where
    every image is named rightly, the surer the better.
    """
    if not len(truth_N):
        return None
    log_NK = _logs(probabilities_NK)
    truth_log_N = log_NK[np.arange(len(truth_N)), truth_N]

    def slope(inverse: float) -> float:
        """Of the mean loss with respect to 1 / T: mean logit minus the truth's."""
        return float(((scaled(probabilities_NK, 1 / inverse) * log_NK).sum(axis=1) - truth_log_N).mean())

    low, high = 1 / HIGHEST, 1 / LOWEST
    if slope(low) >= 0 or slope(high) <= 0:
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 2 / (low + high)


def scaled(probabilities_NK: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Probabilities at a temperature: softmax of the logits divided by it."""
    logits_NK = _logs(probabilities_NK) / temperature
    raised_NK = np.exp(logits_NK - logits_NK.max(axis=1, keepdims=True, initial=-np.inf))
    return raised_NK / raised_NK.sum(axis=1, keepdims=True)


def compare(
    truth_N: NDArray[np.int64], probabilities_NK: NDArray[np.floating], positive: int | None, temperature: float
) -> BeforeAfter:
    """The scores before and after; the error is that of the positive class's probability, or of the highest one."""
    return BeforeAfter(
        before=_believability(truth_N, np.asarray(probabilities_NK, np.float64), positive),
        after=_believability(truth_N, scaled(probabilities_NK, temperature), positive),
    )


def _believability(
    truth_N: NDArray[np.int64], probabilities_NK: NDArray[np.float64], positive: int | None
) -> Believability:
    if not len(truth_N):
        return Believability(ece=None, log_loss=None)
    if positive is None:
        found = calibration.of_decided_class(truth_N, probabilities_NK, probabilities_NK.argmax(axis=1))
    else:
        found = calibration.of_positive_class(truth_N == positive, probabilities_NK[:, positive])
    of_truth_N = probabilities_NK[np.arange(len(truth_N)), truth_N]
    return Believability(ece=found.ece, log_loss=float(-np.log(np.maximum(of_truth_N, _TINY)).mean()))


def _logs(probabilities_NK: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.log(np.maximum(np.asarray(probabilities_NK, np.float64), _TINY))
