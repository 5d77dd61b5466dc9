"""Predictive values at prevalences other than that of the images: those that every report has, and one asked for."""

from typing import Any

from ml.errors import BadConfig
from ml.intervals import Score
from ml.prevalence import PredictiveValues, predictive_values
from webapp.errors import Conflict, Invalid

USUAL = (0.005, 0.01, 0.05, 0.20)


def parse(text: str) -> float | None:
    """The prevalence that a query asks for; None of an empty one. Raises Invalid."""
    text = text.strip()[:40]
    if not text:
        return None
    try:
        return float(text.replace(",", "."))
    except ValueError as error:
        message = f"'{text}' is no number; it must lie between 0 and 1, such as 0.01 for one in 100."
        raise Invalid(message, {"prevalence": "a share between 0 and 1"}) from error


def at(metrics: dict[str, Any], prevalence: float) -> PredictiveValues:
    """The predictive values there, empty without both rates. Raises Invalid for one not between 0 and 1."""
    sensitivity, specificity = (Score.model_validate(metrics[name]) for name in ("sensitivity", "specificity"))
    try:
        return predictive_values(sensitivity, specificity, prevalence)
    except BadConfig as error:
        raise Invalid(str(error), {"prevalence": "a share between 0 and 1"}) from error


def table(metrics: dict[str, Any] | None, asked: float | None) -> list[PredictiveValues]:
    """Those at the usual prevalences and the one asked for, rarest first. Raises Invalid, Conflict without rates."""
    if not metrics or metrics["sensitivity"]["value"] is None or metrics["specificity"]["value"] is None:
        if asked is not None:
            raise Conflict(
                "There is no sensitivity and specificity on test images, so there are no predictive values at a "
                "prevalence. Leave prevalence out."
            )
        return []
    wanted = {*USUAL, asked} if asked is not None else USUAL
    return [at(metrics, prevalence) for prevalence in sorted(wanted)]
