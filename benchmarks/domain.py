"""What the guard of a version refuses: photographs of cats, text, noise and more, beside images that it should answer.

Versions are trained on BreastMNIST through the product's own path, by the quick presets: the small network from three
seeds at 64 px, and EfficientNet-Lite0 from ImageNet weights, where its packages are installed. Each is asked as it
serves. Refused are all images without a label; of validation, which fixed the limits, and test, which nothing was
chosen on, few should be. Images in quarantine are in neither. "Drawn ultrasound" is what `ml/synthetic.py` draws after
the textbook: it is no patient's, but of the kind. Needs `breastmnist_64.npz` and `breastmnist_224_rebuilt.npz` in the
folder `APP_TEST_DATA`; of what else the folder holds all is asked (`benchmarks/_foreign.py`).
"""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import _foreign
from ml import domain, efficientnet, training
from ml.artifact import Card
from ml.config import Split
from ml.domain import Domain
from ml.ingest import Ingested, ingest
from ml.ingest_options import ArchiveLimits, IngestOptions
from ml.pack import PackReader
from ml.presets import presets
from ml.release import release
from ml.serving import Predictor
from ml.threads import share_cores

SMALL, LARGE = "breastmnist_64.npz", "breastmnist_224_rebuilt.npz"
CLASSES = {"0": "malignant", "1": "normal or benign"}
OWN: tuple[Split, ...] = ("validation", "test")
AT_ONCE = 32


@dataclass(frozen=True)
class Run:
    """A training: what the column is called, its data, its preset and its seed."""

    name: str
    file: str
    preset: str
    seed: int = 0


RUNS = (
    *(Run(f"cnn, seed {seed}", SMALL, "cnn-quick", seed) for seed in range(3)),
    Run("efficientnet", LARGE, "efficientnet-quick"),
)


def main() -> None:
    data = Path(os.environ.get("APP_TEST_DATA", ""))
    if not all((data / file).is_file() for file in (SMALL, LARGE)):
        print(f"APP_TEST_DATA names no folder with {SMALL} and {LARGE}; nothing is measured.")
        print(json.dumps({"refused_cats": None, "refused_test": None}))
        return
    runs = [run for run in RUNS if run.file == SMALL or all(map(efficientnet.is_installed, efficientnet.PACKAGES))]
    foreign = _foreign.of_all_kinds(data)
    refused: dict[str, list[float]] = {}
    print(f"{'share refused, of':<24}{'n':>6}  " + "".join(f"{run.name:>15}" for run in runs))
    for run in runs:
        with tempfile.TemporaryDirectory() as folder:
            predictor, own = guarded(data / run.file, run.preset, run.seed, Path(folder))
        asked = own | foreign
        for kind, pictures in asked.items():
            refused.setdefault(kind, []).append(share_refused(predictor, pictures))
    for kind, shares in refused.items():
        print(f"{kind:<24}{len(asked[kind]):>6}  " + "".join(f"{share:>15.3f}" for share in shares))
    figures = {
        f"refused_{kind.replace(' ', '_')}": round(float(np.mean(shares)), 4) for kind, shares in refused.items()
    }
    print(json.dumps(figures))


def guarded(file: Path, preset: str, seed: int, folder: Path) -> tuple[Predictor, dict[str, _foreign.Pictures]]:
    """A version that knows its domain, as it serves, and the images of its own that it was not trained on."""
    found = _ingested(file, folder / "images")
    chosen = presets(len(found.manifest.of_split("train")))[preset].config
    config = chosen.model_copy(update={"seed": seed, "device": "cpu"})
    version, scratch = folder / "version", folder / "scratch"
    scratch.mkdir()
    with PackReader(found.pack_paths) as packs:
        fitted = training.fit(config, found.manifest, packs, scratch, lambda progress: None, lambda path, epoch: None)
        release(fitted, config, found.manifest, packs, version, preset, file.name)
        own: dict[str, _foreign.Pictures] = {
            split: [packs.read(row.pack, row.member) for row in found.manifest.of_split(split)] for split in OWN
        }
    guard = Domain.read(version / domain.NAME)
    return Predictor(version / "model.onnx", Card.read(version), domain=guard), own


def _ingested(file: Path, folder: Path) -> Ingested:
    folder.mkdir()
    return ingest(file, folder, IngestOptions(classes=CLASSES), ArchiveLimits())


def share_refused(predictor: Predictor, pictures: Sequence[NDArray[np.uint8]]) -> float:
    """Of those that it is asked about."""
    parts = [pictures[start : start + AT_ONCE] for start in range(0, len(pictures), AT_ONCE)]
    return float(np.mean([answer.in_domain is False for part in parts for answer in predictor.answers(part)]))


if __name__ == "__main__":
    share_cores()
    main()
