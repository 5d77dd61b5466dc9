"""The REST interface of a real site as strangers meet it: the examples of its page, and a fuzzer."""

import contextlib
import html
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests

from ml.images import encode_canonical
from tests import factories, servers
from tests.conftest import application, migrate
from tests.sites import Site, running_site
from webapp.settings import Settings

EXAMPLE = re.compile(r'<code data-example="(\w+)">(.+?)</code>', re.DOTALL)
EXAMPLES = 4  # of each operation, after those that cover its schema


@contextlib.contextmanager
def site_with_a_model(folder: Path, **settings: str) -> Iterator[tuple[Site, str]]:
    """A running site with an active version, and the secret of a researcher's token."""
    known = {name.removeprefix("APP_").lower(): value for name, value in settings.items()}
    seeded = Settings(data_dir=folder / "var", **known)
    migrate(seeded)
    with application(seeded) as app, app.app_context():
        token = factories.make_token(factories.find_user("researcher"))
        version = factories.make_version()
        factories.make_activation(version)
        factories.make_evaluation(version)
    with running_site(folder, **settings) as site:
        site.wait_until_healthy()
        yield site, token


@pytest.fixture
def fuzzed(tmp_path: Path, postgres: servers.Postgres) -> Iterator[tuple[Site, str]]:
    """On PostgreSQL, which refuses more than SQLite does; without a worker, since nobody wants what is queued."""
    name = postgres.create()
    with site_with_a_model(tmp_path, APP_DATABASE_URL=postgres.url(name), APP_WORKERS="0") as found:
        yield found
    postgres.drop(name)


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_no_request_that_the_document_allows_or_forbids_brings_the_site_down(fuzzed: tuple[Site, str]) -> None:
    site, token = fuzzed
    program, rules = Path(sys.executable).parent / "schemathesis", Path(__file__).with_name("schemathesis.toml")
    address = f"http://127.0.0.1:{site.port}/api/v1/openapi.json"
    command = [program, "--config-file", rules, "run", address, "--max-examples", str(EXAMPLES)]
    command += ["--header", f"Authorization: Bearer {token}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=site.folder)
    assert done.returncode == 0, done.stdout[-20_000:]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_examples_of_the_page_work_as_they_are(tmp_path: Path) -> None:
    with site_with_a_model(tmp_path) as (site, token):
        address = f"http://127.0.0.1:{site.port}"
        found = EXAMPLE.findall(requests.get(f"{address}/api/docs", timeout=30).text)
        folder = folder_with_images(tmp_path / "client")
        environment = os.environ | {"SITE": address, "TOKEN": token}
        said = [run(language, html.unescape(text), folder, environment) for language, text in found]
    assert [language for language, _ in found].count("python") == 2
    assert all("benign" in text or '"queued"' in text for text in said), said
    assert "succeeded 2 images, 0 without an answer" in said[-1]


def run(language: str, text: str, folder: Path, environment: dict[str, str]) -> str:
    """What the example prints."""
    command = [sys.executable, "-c", text] if language == "python" else ["bash", "-c", text]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (text, done.stdout, done.stderr)
    return done.stdout


def folder_with_images(folder: Path) -> Path:
    """The files that the examples name."""
    folder.mkdir()
    for name, level in (("image.png", 20), ("other.png", 230)):
        (folder / name).write_bytes(encode_canonical(np.full((32, 32, 3), level, np.uint8)))
    with zipfile.ZipFile(folder / "images.zip", "w") as packed:
        for name in ("image.png", "other.png"):
            packed.write(folder / name, name)
    return folder
