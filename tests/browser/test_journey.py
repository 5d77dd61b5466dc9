"""The main job as a person does it, in a real browser on a real site: first admin to prediction."""

import os
import re
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ml.synthetic import write_archive

pytestmark = pytest.mark.browser
# Where pictures of every page go, for people: asked for by name, because they take longer than the journey.
SCREENSHOTS = os.environ.get("SCREENSHOTS")
TRAINING_MS = 240_000


def picture(page: Page, name: str) -> None:
    """The page as people see it, wide and light, narrow and dark: it fits."""
    for scheme, width in (("light", 1280), ("dark", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        if SCREENSHOTS or page.locator(".js-plotly-plot").count():
            page.wait_for_timeout(150)  # charts are drawn again
        if SCREENSHOTS:
            page.screenshot(path=Path(SCREENSHOTS) / f"{name}-{scheme}-{width}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name} is too wide"
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 900})


@pytest.mark.slow
def test_from_the_first_admin_to_a_prediction(page: Page, tmp_path: Path) -> None:
    _create_the_first_admin(page)
    _bring_in_data(page, tmp_path / "Lesions.zip")
    _train(page)
    _activate(page)
    _report(page)
    _predict(page, tmp_path)
    _administrate(page)
    _log_in_again(page)
    _follow_every_link(page)


def _create_the_first_admin(page: Page) -> None:
    page.goto("/")
    expect(page).to_have_url(re.compile("/setup"))
    picture(page, "setup")
    page.get_by_label("E-mail address").fill("admin@example.org")
    page.get_by_label("Password", exact=True).fill("a long password")
    page.get_by_label("Password again").fill("a long password")
    page.get_by_role("button", name="Create the admin").click()
    expect(page.locator("main h1")).to_be_visible()
    picture(page, "dashboard-empty")
    for name in ("datasets", "experiments", "versions", "try"):
        page.goto(f"/{name}/")
        picture(page, f"{name}-empty")


def _bring_in_data(page: Page, archive: Path) -> None:
    write_archive(archive, images_per_class=60, size_px=48, seed=3)
    page.goto("/datasets/new")
    picture(page, "dataset-new")
    page.get_by_label("Archive", exact=True).set_input_files(archive)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page).to_have_url(re.compile(r"/datasets/\d+$"))
    confirm = page.get_by_role("button", name="Confirm and read the images")
    expect(confirm).to_be_visible(timeout=60_000)
    page.get_by_label("Group pattern").fill(r"synthetic_(\d+)")
    expect(page.locator("#tried")).to_contain_text("60 groups in a sample")
    picture(page, "dataset-review")
    page.get_by_label("Group pattern").fill("")
    confirm.click()
    expect(page.get_by_text("Class counts").or_(page.get_by_text("malignant").first).first).to_be_visible(
        timeout=60_000
    )
    expect(page.get_by_role("link", name=re.compile("Train"))).to_be_visible()
    picture(page, "dataset")
    page.goto(page.url + "/images")
    expect(page.locator("main img").first).to_be_visible()
    picture(page, "dataset-images")


def _train(page: Page) -> None:
    page.goto("/datasets/")
    picture(page, "datasets")
    page.goto("/experiments/new?dataset=1")
    page.get_by_role("button", name=re.compile("Small network, quick look")).click()
    page.get_by_label("Name").fill("First look")
    page.locator('[name="config.epochs"]').fill("30")
    page.locator('[name="config.image_size_px"]').fill("48")
    picture(page, "experiment-new")
    page.get_by_role("button", name="Start training").click()
    expect(page).to_have_url(re.compile(r"/experiments/\d+$"))
    expect(page.locator("main").get_by_text(re.compile(r"epoch \d+ of 30", re.IGNORECASE)).first).to_be_visible(
        timeout=TRAINING_MS
    )
    picture(page, "experiment-running")
    expect(page.locator("main").get_by_text("succeeded").first).to_be_visible(timeout=TRAINING_MS)
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    picture(page, "experiment")
    page.goto("/experiments/")
    picture(page, "experiments")


def _activate(page: Page) -> None:
    page.goto("/versions/1")
    for words in ("ROC AUC", "Sensitivity", "Specificity"):
        expect(page.get_by_text(words).first).to_be_visible()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    page.get_by_label("Reason", exact=False).first.fill("The first model")
    picture(page, "version")
    page.get_by_role("button", name="Activate").click()
    expect(page.get_by_text("active", exact=False).first).to_be_visible()
    page.goto("/versions/")
    picture(page, "versions")
    page.goto("/versions/activations")
    expect(page.get_by_text("The first model")).to_be_visible()
    picture(page, "activations")
    page.goto("/versions/1")
    page.get_by_role("button", name="Evaluate").click()
    expect(page.locator("main").get_by_text("succeeded").first).to_be_visible(timeout=60_000)
    picture(page, "evaluation")


def _report(page: Page) -> None:
    page.goto("/versions/1")
    page.get_by_text("Write it").click()
    page.get_by_label("What it is for", exact=False).fill("A second look at lesions.\n\nFor a journey.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("For a journey.").first).to_be_visible()
    page.get_by_role("link", name="Report", exact=True).click()
    for words in ("A second look at lesions.", "Leakage checklist", "Each class against the rest"):
        expect(page.get_by_text(words).first).to_be_visible()
    picture(page, "report")


def _predict(page: Page, folder: Path) -> None:
    write_archive(folder / "unseen.zip", images_per_class=1, size_px=48, seed=77)
    with zipfile.ZipFile(folder / "unseen.zip") as archive:
        name = next(name for name in archive.namelist() if name.endswith(".png"))
        (folder / "unseen.png").write_bytes(archive.read(name))
    page.goto("/try/")
    page.locator('input[name="image"]').set_input_files(folder / "unseen.png")
    page.get_by_role("button", name="Ask the model").click()
    expect(page.locator("#answer")).to_contain_text(re.compile("benign|malignant"))
    picture(page, "try")


def _administrate(page: Page) -> None:
    page.goto("/")
    picture(page, "dashboard")
    page.goto("/account")
    page.get_by_label("Name").fill("script")
    page.get_by_role("button", name=re.compile("Create|token", re.IGNORECASE)).first.click()
    expect(page.get_by_text("bip_").first).to_be_visible()
    picture(page, "account")
    for name in ("users", "tokens", "queue", "audit"):
        page.goto(f"/admin/{name}")
        expect(page.locator("main h1")).to_be_visible()
        picture(page, f"admin-{name}")
    page.goto("/admin/users/1")
    picture(page, "admin-user")


def _log_in_again(page: Page) -> None:
    page.context.clear_cookies()
    page.goto("/login")
    picture(page, "login")
    page.get_by_label("E-mail address").fill("admin@example.org")
    page.get_by_label("Password").fill("a long password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("link", name="Data sets").first).to_be_visible()


def _follow_every_link(page: Page) -> None:
    """From page to page, up to three of each kind: those that differ in a number or in what is asked for."""
    seen, kinds, waiting = set(), Counter(), ["/"]
    while waiting:
        path = waiting.pop()
        kind = re.sub(r"\d+", "N", path.partition("?")[0])
        if path in seen or kinds[kind] == 3 or path.startswith(("/vendor", "/static")):
            continue
        seen.add(path)
        kinds[kind] += 1
        answer = page.request.get(path)
        assert answer.ok, f"{path} answers {answer.status}"
        if "text/html" in answer.headers["content-type"]:
            waiting += [
                link.split("#")[0] for link in re.findall(r'href="(/[^"]*)"', answer.text().replace("&amp;", "&"))
            ]
    assert len(kinds) > 20
