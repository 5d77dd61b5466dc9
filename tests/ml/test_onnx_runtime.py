"""The runtime keeps to itself."""

import os
import re
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import time
import ml.serving
import ml.onnx_runtime
time.sleep(2)
"""


def test_nothing_is_collected_in_the_home_of_the_user(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment | {"HOME": str(tmp_path)}, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_onnx_runtime_is_imported_in_one_place() -> None:
    root = Path(__file__).resolve().parents[2]
    found = {
        path.relative_to(root).as_posix()
        for folder in ("ml", "webapp", "jobs")
        for path in (root / folder).rglob("*.py")
        if re.search(r"^(import|from) onnxruntime", path.read_text(), re.MULTILINE)
    }
    assert found == {"ml/onnx_runtime.py"}
