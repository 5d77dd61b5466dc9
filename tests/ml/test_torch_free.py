"""The half of `ml` that the web process imports stays light."""

import subprocess
import sys

TORCH_FREE = (
    "appearance", "archive", "arrays", "artifact", "beliefs", "calibration", "clusters", "comparison", "config",
    "conformal", "decisions", "domain", "draws", "drift", "embedding", "errors", "evaluation", "evidence",
    "explain", "grouped", "images", "ingest", "intervals", "label_errors", "manifest", "metrics", "netbenefit",
    "pack", "prevalence", "progress", "quality", "quartiles", "ranking", "rate_curve", "recalibration",
    "replicates", "revision", "robustness", "scored", "selective", "serving", "settled", "splits", "subgroups",
    "synthetic", "temperature",
)  # fmt: skip
HEAVY = {"torch", "torchvision", "scipy", "sklearn", "onnx", "pandas"}


def test_a_fresh_process_imports_the_torch_free_half_without_heavy_packages() -> None:
    program = f"import sys, {', '.join('ml.' + name for name in TORCH_FREE)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "ml.serving" in done.stdout.split()
    assert HEAVY.isdisjoint(done.stdout.split())
