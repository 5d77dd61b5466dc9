"""Steps as they are beside compiled ones (`compile: on`), on this machine: images per second, and what that costs.

    python -m benchmarks.compilation

Images per second are those of the last epoch, in the precision that `auto` chooses. The weights are the same to begin
with, and so are the images, which are drawn.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from ml import device, training
from ml.config import TrainConfig
from ml.ingest import Ingested, ingest
from ml.ingest_options import ArchiveLimits, IngestOptions
from ml.pack import PackReader
from ml.synthetic import write_archive
from ml.threads import share_cores

SIDE_PX, EPOCHS, BATCH = 224, 4, 32
IMAGES_PER_CLASS = {"cpu": 110, "mps": 500, "cuda": 2_000}  # so that an epoch takes some seconds


def main() -> None:
    chosen = device.choose("auto")
    print(f"{device.describe(chosen)}; {SIDE_PX} px, batches of {BATCH}")
    print(f"{'network':<20}{'steps':<10}{'precision':>10}{'first epoch s':>15}{'images/s':>10}")
    summary: dict[str, Any] = {"device": chosen.type}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "programs")  # else those of an earlier run are found
        write_archive(folder / "drawn.zip", IMAGES_PER_CLASS[chosen.type], SIDE_PX, 0)
        (folder / "images").mkdir()
        data = ingest(folder / "drawn.zip", folder / "images", IngestOptions(), ArchiveLimits())
        for network in ("resnet18", "cnn", "cnn_fast"):
            plain, compiled = (_rate(network, data, steps, folder / f"{network} {steps}") for steps in ("off", "on"))
            summary[f"{network}_ratio"] = round(compiled / plain, 2)
    print(json.dumps(summary))


def _rate(network: str, data: Ingested, steps: str, scratch: Path) -> float:
    """Images per second of the last epoch."""
    scratch.mkdir()
    fields = {"network": network, "image_size_px": SIDE_PX, "epochs": EPOCHS, "batch_size": BATCH, "compile": steps}
    torch.compiler.reset()
    fitted = training.fit(
        TrainConfig.model_validate(fields),
        data.manifest,
        PackReader(data.pack_paths),
        scratch,
        lambda progress: None,
        lambda path, epoch: None,
    )
    first, *_, last = fitted.history
    name = "compiled" if steps == "on" else "as they are"
    print(f"{network:<20}{name:<12}{fitted.precision:>8}{first.seconds:>15.1f}{last.images_per_s:>10.1f}", flush=True)
    return last.images_per_s


if __name__ == "__main__":
    share_cores()
    main()
