"""Charts of the report as inline SVG: drawn from stored scores, for paper, without a script."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from ml import intervals
from ml.intervals import Score
from webapp.models import Epoch

WIDTH, HEIGHT = 330, 268
_LEFT, _TOP, _RIGHT, _BOTTOM = 46, 10, 320, 226
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
Point = tuple[float, float]
Ticks = Sequence[tuple[float, str]]  # where on the axis, and what it says there
_SHARES: Ticks = [(tick, f"{tick:.1f}") for tick in _TICKS]
_FEW = 12  # epochs, which are drawn as dots too


def roc(metrics: dict[str, Any]) -> Markup | None:
    """Sensitivity against the share of false alarms; a cross marks the operating point with its intervals."""
    curve = metrics.get("roc")
    if not curve or not curve["fpr"]:
        return None
    parts = [_line([(0, 0), (1, 1)], "chance"), _line(list(zip(curve["fpr"], curve["tpr"], strict=True)), "curve")]
    found, left_alone = metrics["sensitivity"], metrics["specificity"]
    if found["value"] is not None and left_alone["value"] is not None:
        x, y = 1 - left_alone["value"], found["value"]
        parts += [
            _line([(1 - left_alone["high"], y), (1 - left_alone["low"], y)], "whisker"),
            _line([(x, found["low"]), (x, found["high"])], "whisker"),
            _dot((x, y), 4.5, "point"),
        ]
    return _chart("ROC curve with the operating point", "1 − specificity", "Sensitivity", parts)


def calibration(metrics: dict[str, Any]) -> Markup | None:
    """Observed frequency against mean probability with its interval; the area of a dot grows with the images.

    Where an earlier release scored, the intervals are Wilson's.
    """
    bins = [one for one in (metrics.get("calibration") or {}).get("bins", []) if one["n"]]
    if not bins:
        return None
    most = max(one["n"] for one in bins)
    parts = [_line([(0, 0), (1, 1)], "chance")]
    places = [(one["mean_probability"], one["frequency"]) for one in bins]
    parts.append(_line(places, "thin"))
    for one, (x, y) in zip(bins, places, strict=True):
        kept = Score.model_validate(one["observed"]) if one.get("observed") else None
        bounds = kept or intervals.proportion(y * one["n"], one["n"])
        parts.append(_line([(x, bounds.low or 0.0), (x, bounds.high or 0.0)], "whisker"))
        parts.append(_dot((x, y), 2 + 4.5 * (one["n"] / most) ** 0.5, "dot"))
    return _chart("Calibration curve", "Mean predicted probability", "Observed frequency", parts)


def decision(metrics: dict[str, Any]) -> Markup | None:
    """Net benefit against the threshold, from a little below nothing up to the best that there is."""
    curve = metrics.get("decision_curve")
    if not curve:
        return None
    top = max(max(curve["model"]), max(curve["treat_all"]), 0.05) * 1.08
    bottom = -0.25 * top

    def placed(values: Sequence[float]) -> list[Point]:
        shown = [(at, value) for at, value in zip(curve["thresholds"], values, strict=True) if value >= bottom]
        return [(at, (value - bottom) / (top - bottom)) for at, value in shown]

    lines = [
        _line(placed(curve["treat_none"]), "chance"),
        _line(placed(curve["treat_all"]), "thin"),
        _line(placed(curve["model"]), "curve"),
    ]

    ticks = [(tick, f"{bottom + tick * (top - bottom):.2f}") for tick in _TICKS]
    return _chart("Decision curve", "Threshold probability", "Net benefit", lines, up_at=ticks)


def risk(metrics: dict[str, Any]) -> Markup | None:
    """Share of errors against the share of images answered, surest first."""
    curve = metrics.get("risk_coverage")
    if not curve:
        return None
    top = _round_up(max(*curve["risk"], 0.05))
    points = [(at, value / top) for at, value in zip(curve["coverage"], curve["risk"], strict=True)]
    lines = [_line([(0, points[-1][1]), points[-1]], "chance"), _line(points, "curve"), _dot(points[-1], 3, "dot")]
    ticks = [(tick, f"{tick * top:g}") for tick in _TICKS]
    return _chart("Risk-coverage curve", "Share of images answered", "Share of errors", lines, up_at=ticks)


def losses(epochs: Sequence[Epoch], best: int | None) -> Markup | None:
    """Loss of training (grey) and validation, epoch by epoch; the upright line is the epoch that was kept."""
    lines = {
        "thin": [(epoch.number, epoch.train_loss) for epoch in epochs],
        "curve": [(epoch.number, epoch.validation_loss) for epoch in epochs],
    }
    top = max((value for line in lines.values() for _, value in line if math.isfinite(value)), default=0.0)
    return _of_epochs("Loss by epoch", "Loss", lines, best, 0.0, _round_up(top))


def validation(epochs: Sequence[Epoch], best: int | None) -> Markup | None:
    """Accuracy (grey) and area under the ROC curve of validation, epoch by epoch."""
    aucs = [(epoch.number, epoch.validation_auc) for epoch in epochs if epoch.validation_auc is not None]
    lines = {"thin": [(epoch.number, epoch.validation_accuracy) for epoch in epochs], "curve": aucs}
    lowest = min((value for line in lines.values() for _, value in line), default=0.0)
    return _of_epochs("Validation by epoch", "Share", lines, best, math.floor(lowest * 10) / 10, 1.0)


def _round_up(value: float) -> float:
    """A little more, so that each fifth of it is a round number."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value / 5))
    return next(5 * step * power for step in (1, 2, 2.5, 5, 10, 20) if 5 * step * power >= value)


def _of_epochs(
    title: str, up: str, lines: dict[str, list[tuple[int, float]]], best: int | None, bottom: float, top: float
) -> Markup | None:
    numbers = [number for line in lines.values() for number, _ in line]
    if not numbers or top <= bottom:
        return None
    first, span = min(numbers), max(numbers) - min(numbers)

    def along(number: int) -> float:
        return (number - first) / span if span else 0.5

    parts = [_line([(along(best), 0), (along(best), 1)], "whisker")] if best in numbers and best is not None else []
    for kind, line in lines.items():
        places = [(along(at), (value - bottom) / (top - bottom)) for at, value in line if math.isfinite(value)]
        parts.append(_line(places, kind))
        parts += [_dot(place, 2, "faint" if kind == "thin" else "dot") for place in places if span < _FEW]
    named = sorted({round(first + tick * span) for tick in _TICKS})
    ticks = [(tick, f"{bottom + tick * (top - bottom):g}") for tick in _TICKS]
    return _chart(title, "Epoch", up, parts, [(along(number), str(number)) for number in named], ticks)


def interval(score: dict[str, Any] | None) -> Markup:
    """Where a score between 0 and 1 and its interval lie, as a line of 120 by 12 px; empty where there is none."""
    if not score or score["value"] is None or score["low"] is None or score["value"] < 0:
        return Markup("")
    low, value, high = (round(2 + 116 * min(1.0, max(0.0, score[name])), 1) for name in ("low", "value", "high"))
    return Markup(
        '<svg class="strip" width="120" height="12" viewBox="0 0 120 12" role="img" aria-label="interval">'
        '<line x1="2" y1="6" x2="118" y2="6" class="rail"/><line x1="{}" y1="6" x2="{}" y2="6" class="range"/>'
        '<circle cx="{}" cy="6" r="3.2" class="point"/></svg>'
    ).format(low, high, value)


def _chart(
    title: str,
    across: str,
    up: str,
    parts: Sequence[Markup],
    across_at: Ticks = _SHARES,
    up_at: Ticks = _SHARES,
) -> Markup:
    grid = []
    for at, text in across_at:
        x, _ = _place((at, 0))
        grid.append(Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="grid"/>').format(x, _TOP, x, _BOTTOM))
        grid.append(_text(x, _BOTTOM + 14, text, "middle"))
    for at, text in up_at:
        _, y = _place((0, at))
        grid.append(Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="grid"/>').format(_LEFT, y, _RIGHT, y))
        grid.append(_text(_LEFT - 6, y + 3.5, text, "end"))
    middle_x, middle_y = (_LEFT + _RIGHT) / 2, (_TOP + _BOTTOM) / 2
    names = [
        _text(middle_x, HEIGHT - 8, across, "middle", "axis"),
        Markup('<g transform="translate(11 {}) rotate(-90)">{}</g>').format(
            middle_y, _text(0, 0, up, "middle", "axis")
        ),
    ]
    return Markup(
        '<svg class="chart" width="{}" height="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(WIDTH, HEIGHT, WIDTH, HEIGHT, title, Markup("").join([*grid, *names, *parts]))


def _line(points: Sequence[Point], kind: str) -> Markup:
    placed = " ".join(f"{x},{y}" for x, y in map(_place, points))
    return Markup('<polyline points="{}" class="{}"/>').format(placed, kind)


def _dot(point: Point, radius: float, kind: str) -> Markup:
    x, y = _place(point)
    return Markup('<circle cx="{}" cy="{}" r="{}" class="{}"/>').format(x, y, round(radius, 1), kind)


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}" class="{}">{}</text>').format(x, y, anchor, kind, text)


def _place(point: Point) -> Point:
    """From shares of the two axes to pixels."""
    x, y = point
    return round(_LEFT + x * (_RIGHT - _LEFT), 1), round(_BOTTOM - y * (_BOTTOM - _TOP), 1)


OF_METRICS: dict[str, Callable[[dict[str, Any]], Markup | None]] = {
    "roc": roc,
    "calibration": calibration,
    "decision": decision,
    "risk": risk,
}
OF_EPOCHS: dict[str, Callable[[Sequence[Epoch], int | None], Markup | None]] = {
    "losses": losses,
    "validation": validation,
}
