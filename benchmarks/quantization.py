"""The float32 and the int8 file of one network side by side: size, scores on validation, speed on one thread.

ResNet18 is trained for a few epochs, so that its scores mean something; of the others, with random weights, only the
speed counts. All go through the product's own release, which otherwise leaves the others alone. With `APP_TEST_DATA`
the images are those of its `breastmnist_224_rebuilt.npz`, without it drawn ones.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import cast

from ml import networks, quantization, synthetic, training
from ml.config import TrainConfig
from ml.ingest import Ingested, ingest
from ml.ingest_options import ArchiveLimits, IngestOptions
from ml.pack import PackReader
from ml.release import release
from ml.threads import share_cores
from ml.training import Fitted
from ml.variants import Variants

FILE = "breastmnist_224_rebuilt.npz"
TRAINED, OTHERS = "resnet18", ("mobilenet_v3_small",)
EPOCHS, SIZE_PX = 3, 224


def main() -> None:
    share_cores()
    quantization.NETWORKS = (TRAINED, *OTHERS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = _ingested(folder)
        variants = {network: _released(network, found, folder) for network in quantization.NETWORKS}
    print(f"\n{variants[TRAINED].processor}; scores of {variants[TRAINED].n} validation images, speed on one thread")
    print(f"{'network':20} {'numbers':8} {'MB':>6} {'AUC':>7} {'accuracy':>9} {'images/s':>9}")
    for network, one in ((network, one) for network, both in variants.items() for one in both.measured):
        scores = f"{one.auc:7.4f} {one.accuracy:9.4f}" if network == TRAINED else f"{'-':>7} {'-':>9}"
        print(f"{network:20} {one.variant:8} {one.size_mb:6.1f} {scores} {one.images_per_s:9.1f}")
    print(f"{TRAINED}: {variants[TRAINED].refused_because or 'either may serve'}")
    print(json.dumps(_figures(variants)))


def _ingested(folder: Path) -> Ingested:
    archive = Path(os.environ.get("APP_TEST_DATA", "")) / FILE
    if not archive.is_file():
        archive = folder / "drawn.zip"
        synthetic.write_archive(archive, images_per_class=300, size_px=SIZE_PX)
    (folder / "images").mkdir()
    return ingest(archive, folder / "images", IngestOptions(), ArchiveLimits())


def _released(network: str, found: Ingested, folder: Path) -> Variants:
    """What the release says of the two files."""
    asked = {"network": network, "image_size_px": SIZE_PX, "epochs": EPOCHS, "device": "cpu"}
    config, scratch = TrainConfig.model_validate(asked), folder / network
    scratch.mkdir()
    with PackReader(found.pack_paths) as packs:
        fitted = Fitted(networks.build(config, 2).eval(), [], 1, "cpu", "float32", 0, 1.0)
        if network == TRAINED:
            fitted = training.fit(config, found.manifest, packs, scratch, lambda progress: None, lambda path, n: None)
        made = release(fitted, config, found.manifest, packs, scratch / "version", "Measured", "Measured")
    return cast(Variants, made.card.variants)


def _figures(variants: dict[str, Variants]) -> dict[str, object]:
    """How many times as fast int8 is, and what it loses."""
    exact, smaller = variants[TRAINED].measured
    speeds = {network: [one.images_per_s for one in both.measured] for network, both in variants.items()}
    return {
        "processor": variants[TRAINED].processor,
        **{f"{network}_ratio": round(int8 / float32, 2) for network, (float32, int8) in speeds.items()},
        "auc_lost": round((exact.auc or 0) - (smaller.auc or 0), 4),
        "accuracy_lost": round((exact.accuracy or 0) - (smaller.accuracy or 0), 4),
    }


if __name__ == "__main__":
    main()
