"""Charts as Chromium draws them, from data alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, FloatRect, Page

from webapp.assets import path_of

CHARTS = Path(__file__).parents[2] / "static/js/charts.js"


def drawn(browser: Browser, data: dict[str, Any]) -> dict[str, Any]:
    """What the chart holds: its texts, links, bars by their widths, dotted lines by their places, error bars and bands,
    the upper end of its y axis and the height of its plot; on a narrow screen.
    """
    page = browser.new_page(viewport={"width": 390, "height": 800})
    kept = json.dumps(data).replace("<", "\\u003c")
    page.set_content(f'<div id="it"></div><script type="application/json" data-chart-of="it">{kept}</script>')
    for script in (path_of("plotly.js"), CHARTS):
        page.add_script_tag(path=script)
    texts = page.locator(".plotly text").all_text_contents()
    top = page.evaluate("document.getElementById('it')._fullLayout.yaxis.range[1]")
    height = page.evaluate("document.getElementById('it')._fullLayout._size.h")
    counts = {"links": ".plotly a", "errors": ".errorbars .yerror", "bands": ".plotly .js-fill[style*='fill: rgb']"}
    found = {name: page.locator(place).count() for name, place in counts.items()}
    bars = [box["width"] for box in boxes(page, ".bars .point path")]
    lines = [box["x"] for box in boxes(page, ".shapelayer path")]
    points = [box["x"] + box["width"] / 2 for box in boxes(page, ".scatterlayer .point")]
    page.close()
    return {"texts": texts, "top": top, "height": height, "bars": bars, "lines": lines, "points": points, **found}


def boxes(page: Page, of: str) -> list[FloatRect]:
    return [box for one in page.locator(of).all() if (box := one.bounding_box())]


def test_the_name_of_a_class_is_neither_markup_nor_a_link_and_leaves_room(browser: Browser) -> None:
    names = ["<b>bold</b>", '<a href="https://example.org">x</a>', "R&amp;D", "L" * 200]
    classes = [{"name": name, "train": 3, "validation": 1, "test": 1} for name in names]
    found = drawn(browser, {"kind": "counts", "classes": classes})
    assert {"<b>bold</b>", "R&amp;D", "L" * 27 + "…"} <= set(found["texts"])
    assert found["links"] == 0


def test_a_share_that_does_not_move_is_not_drawn_above_one(browser: Browser) -> None:
    line = {"name": "Version 1", "values": [1.0, 1.0]}
    found = drawn(browser, {"kind": "curves", "epochs": [1, 2], "lines": [line]})
    assert found["top"] < 1.1
    assert [text for text in found["texts"] if text in ("1", "2")].count("2") == 1


def test_calibration_has_a_bar_for_each_interval_and_none_where_an_earlier_release_scored(browser: Browser) -> None:
    bins = [{"n": n, "mean_probability": 0.1 * n, "frequency": 0.1 * n} for n in (2, 5, 8)]
    bounds = [{**one, "observed": {"value": one["frequency"], "low": 0.1, "high": 0.9}} for one in bins]
    assert drawn(browser, {"kind": "calibration", "bins": bounds})["errors"] == 3
    assert drawn(browser, {"kind": "calibration", "bins": bins})["errors"] == 0


def test_the_decision_curve_has_a_band_where_there_are_bounds(browser: Browser) -> None:
    data = {
        "kind": "decision",
        "thresholds": [0.1, 0.5],
        "model": [0.3, 0.1],
        "treat_all": [0.3, -0.2],
        "treat_none": [0, 0],
    }
    assert drawn(browser, data)["bands"] == 0
    found = drawn(browser, {**data, "low": [0.2, 0.0], "high": [0.4, 0.2]})
    assert found["bands"] == 1
    assert [text for text in found["texts"] if text in ("Model", "Act on every image", "Act on none")] == [
        "Model", "Act on every image", "Act on none",
    ]  # fmt: skip


def test_each_class_has_its_roc_curve_named_as_text(browser: Browser) -> None:
    lines = [{"name": name, "fpr": [0, 0.2, 1], "tpr": [0, 0.9, 1]} for name in ("<b>cyst</b>", "mass", "normal")]
    found = drawn(browser, {"kind": "rocs", "lines": lines})
    assert {"<b>cyst</b>", "mass", "normal", "Chance"} <= set(found["texts"])


def test_the_names_of_many_classes_leave_their_curves_room(browser: Browser) -> None:
    lines = [{"name": "a long name of a class", "fpr": [0, 0.2, 1], "tpr": [0, 0.9, 1]}] * 6
    assert drawn(browser, {"kind": "rocs", "lines": lines})["height"] > 180


def test_the_importance_of_each_parameter_is_a_bar_as_long_as_its_share_the_greatest_above(browser: Browser) -> None:
    weights = [{"title": "Learning rate", "share": 0.6}, {"title": "Batch size", "share": 0.3}]
    found = drawn(browser, {"kind": "importance", "weights": weights})
    below, above = found["bars"]  # Plotly draws from below
    assert above == pytest.approx(2 * below, rel=0.02)
    assert found["texts"].index("Batch size") < found["texts"].index("Learning rate")


def test_a_later_attempt_is_marked_before_its_first_epoch(browser: Browser) -> None:
    line = {"name": "Loss", "values": [3.0, 2.0, 1.5, 1.2]}
    found = drawn(browser, {"kind": "curves", "epochs": [1, 2, 3, 4], "lines": [line], "attempts": [3]})
    (mark,) = found["lines"]
    assert found["points"][1] < mark < found["points"][2]
    assert found["texts"].count("resumed") == 1
