"""The preset "Small network, fast" on CIFAR-10: epochs, seconds and accuracy on the official test images.

    python -m benchmarks.cifar [--every N] [--epochs N] [--seeds N]

On a GPU it learns from the 50,000 training images but the hundredth part that chooses the epoch, in batches of 1,024;
the goal is 94 %. On a processor it takes every tenth image unless `--every` says otherwise: that shows that the recipe
learns, not how well. Seconds are those of the training, with its cache of decoded images and with validation. Needs
`cifar10-jpeg.tar.xz` in the folder `APP_TEST_DATA`; its images are JPEG, so published accuracies do not compare.
"""

import argparse
import json
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from ml import device, training
from ml.config import TrainConfig
from ml.ingest import Ingested, ingest
from ml.ingest_options import ArchiveLimits, IngestOptions, SplitShares
from ml.pack import PackReader
from ml.presets import presets
from ml.release import release
from ml.threads import share_cores

FILE = "cifar10-jpeg.tar.xz"
LARGE = 1024  # images of a batch on a GPU


def main() -> None:
    source = Path(os.environ.get("APP_TEST_DATA", "")) / FILE
    if not source.is_file():
        print(f"APP_TEST_DATA names no folder with {FILE}; nothing is measured.")
        print(json.dumps({"accuracy": None, "epochs": None, "seconds": None}))
        return
    chosen = device.choose("auto")
    asked = _asked(1 if chosen.type == "cuda" else 10)
    with tempfile.TemporaryDirectory() as folder:
        data = _ingested(source, asked.every, Path(folder))
        images = data.manifest.counts()
        config = _config(sum(counts["train"] for counts in images.values()), asked.epochs, chosen.type)
        print(f"{device.describe(chosen)}; batches of {config.batch_size}")
        print(f"{'seed':<6}{'images':>8}{'epochs':>8}{'seconds':>9}{'images/s':>10}{'accuracy (95 % interval)':>32}")
        rows = [_run(config.model_copy(update={"seed": seed}), data) for seed in range(asked.seeds)]
    means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    print(json.dumps({name: round(value, 4) for name, value in means.items()} | {"device": chosen.type}))


def _asked(every: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=every, metavar="N", help="take each N-th image only")
    parser.add_argument("--epochs", type=int, default=0, metavar="N", help="as the preset has it where left out")
    parser.add_argument("--seeds", type=int, default=1, metavar="N")
    return parser.parse_args()


def _ingested(source: Path, every: int, folder: Path) -> Ingested:
    archive = source if every == 1 else _thinned(source, folder / "some.tar", every)
    (folder / "images").mkdir()
    options = IngestOptions(splits=SplitShares(train=0.98, validation=0.01, test=0.01))  # of those that name none
    return ingest(archive, folder / "images", options, ArchiveLimits())


def _thinned(source: Path, path: Path, every: int) -> Path:
    with tarfile.open(source, "r|*") as given, tarfile.open(path, "w") as kept:
        for number, entry in enumerate(entry for entry in given if entry.isfile()):
            if number % every == 0:
                kept.addfile(entry, given.extractfile(entry))
    return path


def _config(images: int, epochs: int, kind: str) -> TrainConfig:
    fields = presets(images)["cnn-fast"].config.model_dump()
    if kind == "cuda":
        fields |= {"batch_size": LARGE, "learning_rate": fields["learning_rate"] * LARGE / fields["batch_size"]}
    return TrainConfig.model_validate(fields | ({"epochs": epochs} if epochs else {}))


def _run(config: TrainConfig, data: Ingested) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, PackReader(data.pack_paths) as packs:
        given = (config, data.manifest, packs, Path(folder))
        fitted = training.fit(*given, lambda progress: None, lambda path, epoch: None)
        accuracy = release(fitted, *given, "cifar", "CIFAR-10").tested.metrics.accuracy
    row = {
        "images": len(data.manifest.of_split("train")),
        "epochs": config.epochs,
        "seconds": fitted.wall_s,
        "images_per_s": fitted.history[-1].images_per_s,
        "accuracy": accuracy.value,
    }
    print(
        f"{config.seed:<6}{row['images']:>8}{row['epochs']:>8}{row['seconds']:>9.1f}{row['images_per_s']:>10.0f}"
        f"{accuracy.value:>14.3f} ({accuracy.low:.3f} to {accuracy.high:.3f})",
        flush=True,
    )
    return row


if __name__ == "__main__":
    share_cores()
    main()
