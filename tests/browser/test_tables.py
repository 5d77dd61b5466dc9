"""Tables on a narrow screen."""

from pathlib import Path

from playwright.sync_api import Browser

CSS = Path(__file__).parents[2] / "static/css/site.css"
NAMES = ("benign", "malignant", "normal", "cyst", "adenosis")
WORDS = """() => [...document.querySelectorAll(".confusion th")].map((cell) => {
  const range = document.createRange();
  range.selectNodeContents(cell);
  return range.getClientRects().length;
})"""


def test_the_names_of_classes_are_not_broken_between_letters(browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800})
    heads = "".join(f"<th>{name}</th>" for name in NAMES)
    rows = "".join(f"<tr><th>{name}</th>{'<td>12<small>10 %</small></td>' * len(NAMES)}</tr>" for name in NAMES)
    table = f'<table class="confusion"><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    page.set_content(f'<div style="overflow: auto; font: 16px sans-serif">{table}</div>')
    page.add_style_tag(path=CSS)
    lines = page.evaluate(WORDS)
    page.close()
    assert set(lines) <= {0, 1}
