"""What a training frees it finds again."""

import subprocess
import sys

import pytest

from tests.sites import ROOT

PROGRAM = """
import resource, sys
from ml.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    before = faults()
    b"x" * 100_000_000
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="page faults are counted otherwise")
def test_a_block_that_was_freed_costs_no_page_faults_again() -> None:
    found = {}
    for how in ("as ever", "kept"):
        command = [sys.executable, "-c", PROGRAM, how]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        found[how] = int(done.stdout)
    assert found["kept"] < 100 < 10_000 < found["as ever"]
