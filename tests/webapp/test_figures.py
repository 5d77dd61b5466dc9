"""The charts of the report."""

from typing import Any
from xml.etree import ElementTree

from webapp.models import Epoch
from webapp.registry import figures

SCORE = {"value": 0.5, "low": 0.25, "high": 0.75}
NOTHING = {"value": None, "low": None, "high": None}
METRICS: dict[str, Any] = {
    "roc": {"fpr": [0.0, 0.5, 1.0], "tpr": [0.0, 1.0, 1.0]},
    "sensitivity": SCORE,
    "specificity": SCORE,
    "calibration": {"bins": [{"n": 4, "mean_probability": 0.25, "frequency": 0.5}, {"n": 0}]},
    "decision_curve": {
        "thresholds": [0.1, 0.5],
        "model": [0.3, 0.1],
        "treat_all": [0.3, -9.0],
        "treat_none": [0.0, 0.0],
    },
}


def test_the_roc_curve_goes_from_corner_to_corner_through_its_points() -> None:
    lines = [line.get("points") for line in ElementTree.fromstring(figures.roc(METRICS)).iter("polyline")]  # noqa: S314
    assert lines[1] == "46.0,226.0 183.0,10.0 320.0,10.0"
    assert len(lines) == 4  # chance, the curve, and two intervals


def test_without_an_operating_point_the_curve_stands_alone() -> None:
    chart = figures.roc({**METRICS, "sensitivity": NOTHING})
    assert chart is not None
    assert "circle" not in chart
    assert figures.roc({**METRICS, "roc": None}) is None


def test_empty_bins_are_not_drawn_and_no_bins_make_no_chart() -> None:
    chart = figures.calibration(METRICS)
    assert chart is not None
    assert chart.count("<circle") == 1
    assert figures.calibration({"calibration": {"bins": []}}) is None


def test_the_interval_of_a_bin_is_the_one_that_was_scored_else_wilsons() -> None:
    bin = METRICS["calibration"]["bins"][0] | {"observed": {"value": 0.5, "low": 0.0, "high": 1.0}}
    scored = figures.calibration({"calibration": {"bins": [bin]}})
    assert scored is not None
    assert '<polyline points="114.5,226.0 114.5,10.0" class="whisker"/>' in scored
    assert '<polyline points="114.5,193.6 114.5,42.4" class="whisker"/>' in str(figures.calibration(METRICS))  # 2 of 4


def test_what_lies_far_below_nothing_leaves_the_decision_curve() -> None:
    chart = figures.decision(METRICS)
    assert chart is not None
    ys = [
        float(place.split(",")[1])
        for line in ElementTree.fromstring(chart).iter("polyline")  # noqa: S314
        for place in line.get("points", "").split()
    ]
    assert max(ys) <= 226


def test_an_interval_is_drawn_within_its_rail_or_not_at_all() -> None:
    assert 'x1="31.0"' in figures.interval(SCORE)
    assert figures.interval(NOTHING) == figures.interval(None) == ""


def epochs(*losses: float) -> list[Epoch]:
    return [
        Epoch(number=number, train_loss=loss, validation_loss=loss, validation_accuracy=0.75, validation_auc=None)
        for number, loss in enumerate(losses, 1)
    ]


def lines_of(chart: str | None) -> list[str]:
    assert chart is not None
    return [line.get("points", "") for line in ElementTree.fromstring(chart).iter("polyline")]  # noqa: S314


def test_the_loss_falls_from_epoch_to_epoch_and_the_kept_one_is_marked() -> None:
    kept, train, validation = lines_of(figures.losses(epochs(1.0, 0.5, 0.25), 2))
    assert kept == "183.0,226 183.0,10"
    heights = [float(place.split(",")[1]) for place in train.split()]
    assert heights == sorted(heights)
    assert train == validation


def test_an_epoch_whose_loss_is_no_number_is_left_out() -> None:
    assert len(lines_of(figures.losses(epochs(1.0, float("nan"), 0.5), None))[0].split()) == 2


def test_one_epoch_is_a_dot_and_none_is_no_chart() -> None:
    chart = figures.losses(epochs(1.0), 1)
    assert chart is not None
    assert chart.count("<circle") == 2
    assert figures.losses([], None) is None
    assert figures.validation([], None) is None


def test_scores_of_validation_begin_at_the_tenth_below_the_lowest() -> None:
    chart = figures.validation(epochs(1.0, 0.5), 9)
    assert chart is not None
    assert ">0.7<" in chart
    assert "whisker" not in chart


def test_errors_among_the_surest_images_are_drawn_up_to_the_worst() -> None:
    chart = figures.risk({"risk_coverage": {"coverage": [0.5, 1.0], "risk": [0.0, 0.2]}})
    assert chart is not None
    assert lines_of(chart)[1] == "183.0,226.0 320.0,53.2"
    assert ">0.25<" in chart  # the next round number
    assert ">0.05<" in chart
    assert figures.risk({}) is None
