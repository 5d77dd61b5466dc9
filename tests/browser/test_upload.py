"""The page's upload where the server is in trouble."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.ml.factories import files, zip_bytes
from tests.sites import Site

pytestmark = pytest.mark.browser


def test_an_upload_says_so_and_waits_longer_each_time_where_the_server_cannot_take_more(
    browser: Browser, site: Site, tmp_path: Path
) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(zip_bytes(files("a", "b", count=8)))
    context = browser.new_context(base_url=f"http://127.0.0.1:{site.port}")  # the console of `page` must stay quiet
    page = context.new_page()
    page.goto("/setup")
    page.get_by_label("E-mail address").fill("admin@example.org")
    page.get_by_label("Password", exact=True).fill("a long password")
    page.get_by_label("Password again").fill("a long password")
    page.get_by_role("button", name="Create the admin").click()
    expect(page.locator("main h1")).to_be_visible()
    page.goto("/datasets/new")
    refused: list[str] = []

    def refuse(route: Route) -> None:
        if route.request.method == "PATCH":
            refused.append(route.request.url)
            route.fulfill(status=503, body="{}")
        else:
            route.continue_()

    page.route("**/uploads/*", refuse)
    page.get_by_label("Archive", exact=True).set_input_files(archive)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.locator("[data-upload-text]")).to_contain_text("The next try is in 2 s", timeout=20_000)
    assert len(refused) == 2
    page.unroute("**/uploads/*")
    expect(page.get_by_role("button", name="Confirm and read the images")).to_be_visible(timeout=60_000)
    context.close()
