"""Charts as Chromium draws them, from data alone."""

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from webapp.assets import path_of

CHARTS = Path(__file__).parents[2] / "static/js/charts.js"


def drawn(browser: Browser, data: dict[str, Any]) -> dict[str, Any]:
    """The texts and the number of links of the chart, and the upper end of its y axis, on a narrow screen."""
    page = browser.new_page(viewport={"width": 390, "height": 800})
    kept = json.dumps(data).replace("<", "\\u003c")
    page.set_content(f'<div id="it"></div><script type="application/json" data-chart-of="it">{kept}</script>')
    for script in (path_of("plotly.js"), CHARTS):
        page.add_script_tag(path=script)
    texts = page.locator(".plotly text").all_text_contents()
    top = page.evaluate("document.getElementById('it')._fullLayout.yaxis.range[1]")
    links = page.locator(".plotly a").count()
    page.close()
    return {"texts": texts, "top": top, "links": links}


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
