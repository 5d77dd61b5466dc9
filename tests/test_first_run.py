"""The program in docs/first-run.md, on real images."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import application
from tests.factories import make_token, make_user
from tests.sites import ROOT, running_site
from webapp.settings import Settings

DATA = Path(os.environ.get("APP_TEST_DATA", ""))


def program() -> str:
    text = (ROOT / "docs" / "first-run.md").read_text()
    found = re.search(r"```python\n(# first_run.py\n.*?)```", text, re.DOTALL)
    assert found
    return found[1]


@pytest.mark.skipif(not (DATA / "breastmnist_64.npz").is_file(), reason="APP_TEST_DATA has no breastmnist_64.npz")
@pytest.mark.slow
def test_the_small_network_learns_breastmnist_and_answers_over_rest(tmp_path: Path) -> None:
    quick = program().replace(
        'presets()["cnn-solid"]', 'presets()["cnn-quick"]'
    )  # what the solid one learns: benchmarks
    assert quick != program()
    (tmp_path / "first_run.py").write_text(quick)
    with running_site(tmp_path) as site:
        site.wait_until_healthy()
        settings = Settings(data_dir=tmp_path / "var", redis_url="redis://127.0.0.1:1")
        with application(settings) as app, app.app_context():
            token = make_token(make_user(), "write")
        place = {"SITE": f"http://127.0.0.1:{site.port}", "TOKEN": token, "DATA": str(DATA), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, tmp_path / "first_run.py"]
        done = subprocess.run(command, env=os.environ | place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    auc, low = map(float, re.findall(r"auc\s+([\d.]+)\s+\(([\d.]+) to", done.stdout)[0])
    assert auc >= 0.7
    assert low < auc
    assert int(re.findall(r"(\d+) of 20 test images right", done.stdout)[0]) >= 11, done.stdout
