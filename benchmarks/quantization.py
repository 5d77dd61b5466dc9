"""The float32 and the int8 file of each network side by side: size, scores on validation, speed on one thread.

    python -m benchmarks.quantization [--networks NAME ...] [--epochs N]

Each is trained for a few epochs, so that its scores mean something: from random weights, but of EfficientNet-Lite0 the
last layer on the features of ImageNet, whose weights come as a package. All go through the product's own release, which
otherwise leaves networks alone that gain nothing. Speed is that of validation images, one after another. With
`APP_TEST_DATA` the images are those of its `breastmnist_224_rebuilt.npz`, without it drawn ones.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any, cast

from ml import quantization, synthetic, training
from ml.config import TrainConfig
from ml.ingest import Ingested, ingest
from ml.ingest_options import ArchiveLimits, IngestOptions
from ml.pack import PackReader
from ml.presets import presets
from ml.release import release
from ml.threads import share_cores
from ml.variants import Variants

FILE = "breastmnist_224_rebuilt.npz"
EPOCHS, SIZE_PX = 3, 224
FIELDS: dict[str, dict[str, Any]] = {  # of the configuration, where they are not those of any network
    "resnet18": {},
    "mobilenet_v3_small": {},
    "mobilenet_v3_large": {},
    "efficientnet_lite0": {"initial_weights": "imagenet", "trainable_stages": 0},
    "cnn": {"image_size_px": 64},
    "cnn_fast": presets()["cnn-fast"].config.model_dump(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compares the files of each network.")
    parser.add_argument("--networks", nargs="+", choices=FIELDS, default=list(FIELDS))
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    asked = parser.parse_args()
    share_cores()
    quantization.NETWORKS = tuple(asked.networks)
    print(f"{'network':20} {'numbers':8} {'MB':>6} {'AUC':>7} {'accuracy':>9} {'images/s':>9}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = _ingested(folder)
        variants = {network: _released(network, asked.epochs, found, folder) for network in asked.networks}
    first = next(iter(variants.values()))
    print(f"{first.processor}; scores of {first.n} validation images, speed on one thread")
    print(json.dumps({"processor": first.processor, **{name: _figures(both) for name, both in variants.items()}}))


def _ingested(folder: Path) -> Ingested:
    archive = Path(os.environ.get("APP_TEST_DATA", "")) / FILE
    if not archive.is_file():
        archive = folder / "drawn.zip"
        synthetic.write_archive(archive, images_per_class=300, size_px=SIZE_PX)
    (folder / "images").mkdir()
    return ingest(archive, folder / "images", IngestOptions(), ArchiveLimits())


def _released(network: str, epochs: int, found: Ingested, folder: Path) -> Variants:
    """What the release says of the two files, printed as soon as it is known."""
    fields = {"image_size_px": SIZE_PX, **FIELDS[network], "network": network, "epochs": epochs, "device": "cpu"}
    config, scratch = TrainConfig.model_validate(fields), folder / network
    scratch.mkdir()
    with PackReader(found.pack_paths) as packs:
        fitted = training.fit(config, found.manifest, packs, scratch, lambda progress: None, lambda path, n: None)
        made = release(fitted, config, found.manifest, packs, scratch / "version", "Measured", "Measured")
    both = cast(Variants, made.card.variants)
    for one in both.measured:
        scores = f"{one.auc:7.4f} {one.accuracy:9.4f}"
        print(f"{network:20} {one.variant:8} {one.size_mb:6.1f} {scores} {one.images_per_s:9.1f}", flush=True)
    print(f"{network}: {both.refused_because or 'either may serve'}", flush=True)
    return both


def _figures(both: Variants) -> dict[str, float]:
    """How many times as fast int8 is, and what it loses."""
    exact, smaller = both.measured
    return {
        "ratio": round(smaller.images_per_s / exact.images_per_s, 2),
        "auc_lost": round((exact.auc or 0) - (smaller.auc or 0), 4),
        "accuracy_lost": round((exact.accuracy or 0) - (smaller.accuracy or 0), 4),
    }


if __name__ == "__main__":
    main()
