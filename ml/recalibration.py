"""Recalibration: what a logistic model of the outcome on the model's own logit says of its probabilities."""

import math

import numpy as np
from numpy.typing import NDArray

from ml.config import Frozen
from ml.intervals import Z

_EDGE = 1e-6  # float32 probabilities of 0 and 1 have no logit
_STEPS = 50


class Coefficient(Frozen):
    """A coefficient with its 95 % interval, on the scale of logits; all None where it is undefined."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


def slope_and_intercept(
    happened_N: NDArray[np.bool_], probability_N: NDArray[np.float64], group_N: NDArray[np.int64] | None = None
) -> tuple[Coefficient, Coefficient]:
    """Calibration slope (1 is best; below 1: too sure) and intercept (0 is best; above 0: too low on the whole).

    The slope is that of the outcome on the logit (Cox 1958); the intercept is taken with the slope held at 1, which is
    calibration in the large (Van Calster et al. 2019). The intervals are Wald's with the sandwich variance, summed over
    the images of a group (Liang & Zeger 1986). Both are empty where only one outcome occurred, the slope also where a
    threshold parts the outcomes or all probabilities agree, for then no finite slope fits best.
    """
    n = len(happened_N)
    if not 0 < happened_N.sum() < n:
        return Coefficient(), Coefficient()
    logit_N = logit(probability_N)
    group_N = np.arange(n) if group_N is None else group_N
    ones_N1 = np.ones((n, 1))
    intercept = _fitted(ones_N1, happened_N, logit_N, group_N)
    if _is_parted(logit_N[happened_N], logit_N[~happened_N]):
        return Coefficient(), intercept
    return _fitted(np.column_stack([logit_N, ones_N1]), happened_N, np.zeros(n), group_N), intercept


def logit(probability_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(p / (1 - p)), finite for 0 and 1."""
    inside_N = np.clip(probability_N, _EDGE, 1 - _EDGE)
    return np.log(inside_N / (1 - inside_N))


def _is_parted(of_happened: NDArray[np.float64], of_others: NDArray[np.float64]) -> bool:
    return bool(of_happened.min() >= of_others.max() or of_happened.max() <= of_others.min())


def _fitted(
    columns_NP: NDArray[np.float64],
    happened_N: NDArray[np.bool_],
    offset_N: NDArray[np.float64],
    group_N: NDArray[np.int64],
) -> Coefficient:
    """The first coefficient of a logistic regression, by Newton's method with halved steps."""
    beta_P = np.zeros(columns_NP.shape[1])
    loss = _loss(columns_NP @ beta_P + offset_N, happened_N)
    for _ in range(_STEPS):
        p_N = _sigmoid(columns_NP @ beta_P + offset_N)
        step_P = _solved(_information(columns_NP, p_N), columns_NP.T @ (happened_N - p_N))
        if step_P is None:
            return Coefficient()
        size = 1.0
        while (new := _loss(columns_NP @ (beta_P + size * step_P) + offset_N, happened_N)) > loss and size > 1e-6:
            size /= 2
        beta_P, loss = beta_P + size * step_P, min(new, loss)
        if np.abs(size * step_P).max() < 1e-9:
            break
    p_N = _sigmoid(columns_NP @ beta_P + offset_N)
    groups = int(group_N.max()) + 1
    part_GP = np.stack(
        [np.bincount(group_N, column_N * (happened_N - p_N), minlength=groups) for column_N in columns_NP.T], axis=1
    )
    bread_PP = _solved(_information(columns_NP, p_N), np.eye(len(beta_P)))
    if bread_PP is None or groups < 2:
        return Coefficient(value=float(beta_P[0]))
    variance_PP = bread_PP @ (part_GP.T @ part_GP) @ bread_PP * groups / (groups - 1)
    half = Z * math.sqrt(max(0.0, float(variance_PP[0, 0])))
    return Coefficient(value=float(beta_P[0]), low=float(beta_P[0]) - half, high=float(beta_P[0]) + half)


def _information(columns_NP: NDArray[np.float64], p_N: NDArray[np.float64]) -> NDArray[np.float64]:
    return columns_NP.T @ (columns_NP * (p_N * (1 - p_N))[:, None])


def _solved(matrix_PP: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64] | None:
    try:
        return np.asarray(np.linalg.solve(matrix_PP, right), np.float64)
    except np.linalg.LinAlgError:
        return None


def _loss(logit_N: NDArray[np.float64], happened_N: NDArray[np.bool_]) -> float:
    return float(np.logaddexp(0, np.where(happened_N, -logit_N, logit_N)).sum())


def _sigmoid(logit_N: NDArray[np.float64]) -> NDArray[np.float64]:
    return (1 + np.tanh(logit_N / 2)) / 2
