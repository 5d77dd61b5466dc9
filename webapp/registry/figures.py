"""Charts of the report as inline SVG: drawn from stored scores, for paper, without a script."""

from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from ml import intervals

WIDTH, HEIGHT = 330, 268
_LEFT, _TOP, _RIGHT, _BOTTOM = 46, 10, 320, 226
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
Point = tuple[float, float]


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
    """Observed frequency against mean probability, with Wilson's intervals; the area of a dot grows with the images."""
    bins = [one for one in (metrics.get("calibration") or {}).get("bins", []) if one["n"]]
    if not bins:
        return None
    most = max(one["n"] for one in bins)
    parts = [_line([(0, 0), (1, 1)], "chance")]
    places = [(one["mean_probability"], one["frequency"]) for one in bins]
    parts.append(_line(places, "thin"))
    for one, (x, y) in zip(bins, places, strict=True):
        bounds = intervals.proportion(y * one["n"], one["n"])
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

    def height_of(share: float) -> str:
        return f"{bottom + share * (top - bottom):.2f}"

    return _chart("Decision curve", "Threshold probability", "Net benefit", lines, height_of)


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
    title: str, across: str, up: str, parts: Sequence[Markup], height_of: Callable[[float], str] = "{:.1f}".format
) -> Markup:
    grid = []
    for tick in _TICKS:
        x, y = _place((tick, tick))
        grid.append(Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="grid"/>').format(x, _TOP, x, _BOTTOM))
        grid.append(Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="grid"/>').format(_LEFT, y, _RIGHT, y))
        grid.append(_text(x, _BOTTOM + 14, f"{tick:.1f}", "middle"))
        grid.append(_text(_LEFT - 6, y + 3.5, height_of(tick), "end"))
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
