"""What the programs behind the figures say of themselves."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.serving import fault_of

ROOT = Path(__file__).resolve().parent.parent


def test_the_names_that_are_listed_are_those_of_programs() -> None:
    command = [sys.executable, "-m", "benchmarks"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert {"domain", "serving"} <= set(names)
    for name in names:
        assert "\ndef main() -> None:" in (ROOT / "benchmarks" / f"{name}.py").read_text(), name


@pytest.mark.parametrize(
    ("failed", "growth", "because"),
    [(0, 0.05, None), (0, -0.2, None), (0, 0.051, "grew by 5.1%, from 500.0 to 525.5 MiB"), (3, 0.0, "3 requests")],
)
def test_a_site_that_was_loaded_for_long_is_judged(failed: int, growth: float, because: str | None) -> None:
    said = fault_of({"failed": failed, "growth": growth, "first_mib": 500.0, "last_mib": 525.5})
    assert (said is None) == (because is None)
    assert because is None or because in str(said)
