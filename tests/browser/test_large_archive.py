"""An archive of 60,000 files through the page: every image arrives, and the worker's memory stays small."""

import os
import re
import threading
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.sites import Site, descendants_of, read_proc

ARCHIVE = Path(os.environ.get("APP_TEST_DATA", "")) / "cifar10-jpeg.tar.xz"
LIMIT_MIB = 1024
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not ARCHIVE.is_file(), reason="APP_TEST_DATA has no cifar10-jpeg.tar.xz"),
]


class Memory:
    """The largest peak of any process of the site within the `with` block, by program, in MiB."""

    def __init__(self, site: Site) -> None:
        self.site, self.peaks = site, dict[str, float]()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.2):
            for pid in descendants_of(self.site.process.pid):
                command = read_proc(pid, "cmdline")
                peak = re.search(r"VmHWM:\s+(\d+)", read_proc(pid, "status"))
                for program in ("jobs.worker", "gunicorn"):
                    if program in command and peak:
                        self.peaks[program] = max(self.peaks.get(program, 0), int(peak[1]) / 1024)


@pytest.mark.slow
def test_sixty_thousand_files_come_in_through_the_page(page: Page, site: Site) -> None:
    page.goto("/setup")
    page.get_by_label("E-mail address").fill("admin@example.org")
    page.get_by_label("Password", exact=True).fill("a long password")
    page.get_by_label("Password again").fill("a long password")
    page.get_by_role("button", name="Create the admin").click()
    expect(page.locator("main h1")).to_be_visible()
    page.goto("/datasets/new")
    page.get_by_label("Archive", exact=True).set_input_files(ARCHIVE)
    with Memory(site) as memory:
        page.get_by_role("button", name="Upload", exact=True).click()
        page.get_by_role("button", name="Confirm and read the images").click(timeout=240_000)
        expect(page.get_by_role("link", name="Train on this")).to_be_visible(timeout=240_000)
    expect(page.locator("main")).to_contain_text(re.compile(r"60\s000"))
    expect(page.locator("main img").first).to_be_visible()
    assert memory.peaks["jobs.worker"] < LIMIT_MIB


@pytest.mark.slow
def test_an_upload_is_paused_and_goes_on_after_a_reload(page: Page) -> None:
    page.goto("/login")
    page.get_by_label("E-mail address").fill("admin@example.org")
    page.get_by_label("Password", exact=True).fill("a long password")
    page.get_by_role("button", name="Log in").click()
    page.goto("/datasets/new")
    sent: list[Route] = []

    def hold_the_second(route: Route) -> None:
        sent.append(route)
        if route.request.method != "PATCH" or sum(one.request.method == "PATCH" for one in sent) == 1:
            route.continue_()

    page.route("**/uploads/*", hold_the_second)
    page.get_by_label("Archive", exact=True).set_input_files(ARCHIVE)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.locator("[data-upload-text]")).to_contain_text("8.0 MiB of 18 MiB", timeout=60_000)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("[data-upload-text]")).to_contain_text("Paused")
    page.reload()
    page.unroute("**/uploads/*")
    page.get_by_label("Archive", exact=True).set_input_files(ARCHIVE)
    expect(page.locator("[data-upload-text]")).to_contain_text("45% of cifar10-jpeg.tar.xz is here already")
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("button", name="Confirm and read the images")).to_be_visible(timeout=120_000)
    assert page.evaluate("localStorage.length") <= 1  # the theme, and no upload
