"""`make demo EXIT=1`: the whole way, on embedded defaults."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sites import ROOT, free_port


@pytest.mark.slow
def test_the_demo_goes_from_drawn_images_to_a_right_answer(tmp_path: Path) -> None:
    place = {"APP_DATA_DIR": str(tmp_path / "var"), "APP_PORT": str(free_port())}
    command = [sys.executable, "-m", "webapp.demo", "--exit"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    steps = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ") and line[2] != " "]
    wanted = ["start", "upload", "dataset", "train", "trained", "auc", "accuracy", "activate", "predict", "health"]
    assert [step for step in steps if step in wanted] == wanted
    assert "unseen images right" in done.stdout
