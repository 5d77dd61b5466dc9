"""torchvision beside any build of torch."""

import subprocess
import sys

_PROGRAM = """
import warnings
warnings.simplefilter("error")
from ml.torchvision_cpu import torchvision
import torchvision.transforms.v2, torchvision.datasets
print(sum(p.numel() for p in torchvision.models.resnet18(num_classes=2).parameters()))
"""


def test_torchvision_imports_in_a_fresh_process_and_builds_a_model() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "11177538", done.stderr
