"""This trainer beside the training loop of PyTorch's tutorials, on the same images, networks, weights and epochs.

The plain loop: `ImageFolder`, `DataLoader` with 2 workers, torchvision's transforms, float32. Both sides validate after
each epoch, end with the weights of the best one, and are timed from the first byte read to the last weight: the cache
of decoded images belongs to the time of the platform. Each side has a process of its own. Backbones begin with
torchvision's ImageNet weights where the folder `APP_WEIGHTS_DIR` holds the files, else with weights that are first
learned here on photographs. With `APP_TEST_DATA` the images are those of its `breastmnist_224_rebuilt.npz`, without
it drawn ones. `python -m benchmarks.training fine-tuning` measures that alone.
"""

import copy
import json
import multiprocessing
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional

from ml import ingest, networks, ranking, synthetic, training, weights
from ml.config import Split, TrainConfig
from ml.images import InputSpec, to_input
from ml.ingest_options import ArchiveLimits, IngestOptions
from ml.manifest import Manifest
from ml.networks import Network
from ml.pack import PackReader
from ml.threads import share_cores
from ml.torchvision_cpu import torchvision

FINE_TUNING = {"network": "resnet18", "epochs": 2, "learning_rate": 3e-4, "batch_size": 32}
EXTRACTION = {"network": "mobilenet_v3_small", "epochs": 20, "learning_rate": 1e-3, "batch_size": 32}
COMMON = {"image_size_px": 224, "schedule": "constant", "warmup_epochs": 0, "device": "cpu"}
COMPARISONS = {"fine-tuning": FINE_TUNING, "feature-extraction": EXTRACTION}
PHOTOGRAPHS = 4_000


class Measured(NamedTuple):
    """One side of one comparison; seconds from end to end."""

    precision: str
    seconds: float
    images_per_s: float
    accuracy: float  # of the test images, as is
    auc: float


def main() -> None:
    chosen = sys.argv[1:] or list(COMPARISONS)
    data = Path(os.environ["APP_TEST_DATA"]) if os.environ.get("APP_TEST_DATA") else None
    with tempfile.TemporaryDirectory() as folder:
        manifest, packs = _images(data, Path(folder))
        rows = []
        for title in chosen:
            fields = COMPARISONS[title]
            donor = _donor(str(fields["network"]), data, Path(folder))
            config = TrainConfig.model_validate({**COMMON, **fields, "initial_weights": f"file:{donor.name}"})
            given = (config, manifest, packs, donor)
            plain = _alone(_plain, *given, Path(folder) / f"plain {title}")
            rows.append((title, plain, _alone(_platform, *given, Path(folder) / f"ours {title}")))
    columns = f"{'precision':>10}{'seconds':>9}{'images/s':>10}{'test accuracy':>15}{'test AUC':>10}"
    print(f"{'training':<20}{'side':<12}{columns}")
    for title, *sides in rows:
        for side, one in zip(("plain loop", "platform"), sides, strict=True):
            figures = f"{one.seconds:>9.1f}{one.images_per_s:>10.1f}{one.accuracy:>15.3f}{one.auc:>10.3f}"
            print(f"{title:<20}{side:<12}{one.precision:>10}{figures}")
    print(f"Of the test images {_largest_class(manifest):.3f} are of one class: who always says so has that accuracy.")
    summary: dict[str, Any] = {}
    for title, plain, ours in rows:
        name = {"fine-tuning": "finetune", "feature-extraction": "feature_extraction"}[title]
        summary[f"{name}_ratio"] = round(plain.seconds / ours.seconds, 2)
        summary |= {f"{name}_accuracy": round(ours.accuracy, 4), f"{name}_accuracy_plain": round(plain.accuracy, 4)}
        summary |= {f"{name}_auc": round(ours.auc, 4), f"{name}_auc_plain": round(plain.auc, 4)}
    print(json.dumps(summary))


def _largest_class(manifest: Manifest) -> float:
    """The share of the test images that are of their most frequent class."""
    labels = [row.label for row in manifest.of_split("test")]
    return max(map(labels.count, manifest.classes)) / len(labels)


def _alone(side: Callable[..., Measured], *arguments: Any) -> Measured:
    """The side in a process of its own, which starts as a user starts it: ours with the settings of a worker."""
    os.environ.pop("OMP_WAIT_POLICY", None)
    if side is _platform:
        share_cores()
    # Not a Pool, whose processes may have no children, as the workers of a DataLoader are.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
        return alone.submit(side, *arguments).result()


def _images(data: Path | None, folder: Path) -> tuple[Manifest, PackReader]:
    given = data / "breastmnist_224_rebuilt.npz" if data else None
    source: Any = given if given and given.is_file() else _drawn(folder / "drawn.zip", 300, 224, 0)
    return _ingested(source, folder / "images", IngestOptions())


def _ingested(source: Any, folder: Path, options: IngestOptions) -> tuple[Manifest, PackReader]:
    folder.mkdir()
    done = ingest.ingest(source, folder, options, ArchiveLimits())
    return done.manifest, PackReader(done.pack_paths)


def _donor(name: str, data: Path | None, folder: Path) -> Path:
    """A file of weights: ImageNet's, else those of a short training on small photographs, or on drawn images."""
    if weights_dir := os.environ.get("APP_WEIGHTS_DIR"):
        published = Path(weights_dir) / networks.REGISTRY[name].imagenet_url.rpartition("/")[2]
        if published.is_file():
            return published
    if not (folder / "photographs").exists():
        _photographs(data, folder)
    manifest = Manifest.read(folder / "photographs" / ingest.MANIFEST_NAME)
    packs = PackReader(sorted((folder / "photographs").glob("pack-*.zip")))
    fields = {"network": name, "image_size_px": 64, "epochs": 3, "batch_size": 64, "schedule": "one_cycle"}
    config = TrainConfig.model_validate({**fields, "learning_rate": 2e-3, "device": "cpu"})
    fitted = training.fit(config, manifest, packs, _made(folder / f"donor {name}"), _silent, _forgotten)
    path = folder / f"{name}.safetensors"
    save_file({key: value.contiguous() for key, value in fitted.network.body.state_dict().items()}, path)
    return path


def _photographs(data: Path | None, folder: Path) -> None:
    given = data / "cifar10-jpeg.tar.xz" if data else None
    if given and given.is_file():
        _ingested(_some(given, folder / "photographs.tar"), folder / "photographs", IngestOptions())
    else:
        _ingested(_drawn(folder / "photographs.zip", PHOTOGRAPHS // 2, 64, 1), folder / "photographs", IngestOptions())


def _some(archive: Path, path: Path) -> Path:
    """Every so many files of the archive."""
    with tarfile.open(archive, "r|*") as source, tarfile.open(path, "w") as target:
        files = (entry for entry in source if entry.isfile())
        for number, entry in enumerate(files):
            if number % (60_000 // PHOTOGRAPHS) == 0:
                target.addfile(entry, source.extractfile(entry))
    return path


def _drawn(path: Path, images_per_class: int, size_px: int, seed: int) -> Path:
    synthetic.write_archive(path, images_per_class, size_px, seed)
    return path


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _silent(_: object) -> None:
    """Nobody listens."""


def _forgotten(path: Path, epoch: int) -> None:
    """The checkpoint is written, as in every run, and not kept."""


def _platform(config: TrainConfig, manifest: Manifest, packs: PackReader, donor: Path, scratch: Path) -> Measured:
    _made(scratch)
    started_s = time.perf_counter()
    fitted = training.fit(config, manifest, packs, scratch, _silent, _forgotten, weights_dir=donor.parent)
    seconds = time.perf_counter() - started_s
    return _measured(config, manifest, packs, fitted.network, fitted.precision, seconds)


def _plain(config: TrainConfig, manifest: Manifest, packs: PackReader, donor: Path, folder: Path) -> Measured:
    """The loop of "Transfer Learning for Computer Vision Tutorial" (pytorch.org), with this run's optimiser."""
    _as_files(manifest, packs, folder)
    torch.manual_seed(config.seed)
    network = networks.build(config, len(manifest.classes))
    weights.load_initial(network, config, weights_dir=donor.parent)
    started_s = time.perf_counter()
    loaders = {split: _loader(folder / split, config) for split in ("train", "validation")}
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=config.learning_rate, weight_decay=config.weight_decay)
    best, best_accuracy = copy.deepcopy(network.state_dict()), -1.0
    for _ in range(config.epochs):
        network.train()
        for images_NCHW, labels_N in loaders["train"]:
            optimizer.zero_grad()
            functional.cross_entropy(network.body(images_NCHW), labels_N).backward()
            optimizer.step()
        network.eval()
        right = 0
        with torch.no_grad():
            for images_NCHW, labels_N in loaders["validation"]:
                right += int((network.body(images_NCHW).argmax(dim=1) == labels_N).sum())
        if right > best_accuracy:
            best, best_accuracy = copy.deepcopy(network.state_dict()), right
    seconds = time.perf_counter() - started_s
    network.load_state_dict(best)
    return _measured(config, manifest, packs, network, "float32", seconds)


def _as_files(manifest: Manifest, packs: PackReader, folder: Path) -> None:
    for number, row in enumerate(manifest.rows):
        if not row.quarantined:
            path = folder / row.split / row.label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(packs.read_bytes(row.pack, row.member))


def _loader(folder: Path, config: TrainConfig) -> torch.utils.data.DataLoader[Any]:
    is_training = folder.name == "train"
    transforms, side = torchvision.transforms, config.image_size_px
    changes = [transforms.RandomResizedCrop(side, scale=(0.8, 1)), transforms.RandomHorizontalFlip()]
    steps = changes if is_training else [transforms.Resize((side, side))]
    normalize = transforms.Normalize(networks.MEAN_RGB, networks.STD_RGB)
    images = torchvision.datasets.ImageFolder(folder, transforms.Compose([*steps, transforms.ToTensor(), normalize]))
    return torch.utils.data.DataLoader(images, config.batch_size, shuffle=is_training, num_workers=2)


def _measured(
    config: TrainConfig, manifest: Manifest, packs: PackReader, network: Network, precision: str, seconds: float
) -> Measured:
    split: Split = "test"
    rows, spec = manifest.of_split(split), InputSpec(size_px=config.image_size_px)
    network.eval()
    parts_NK = []
    with torch.no_grad():
        for start in range(0, len(rows), 64):
            batch = rows[start : start + 64]
            images_NCHW = np.stack([to_input(packs.read(row.pack, row.member), spec) for row in batch])
            parts_NK.append(network(torch.from_numpy(images_NCHW)).double().softmax(dim=1).numpy())
    probabilities_NK = np.concatenate(parts_NK)
    truth_N = np.array([manifest.label_index(row.label) for row in rows])
    accuracy = float((probabilities_NK.argmax(axis=1) == truth_N).mean())
    trained = config.epochs * len(manifest.of_split("train"))
    auc = ranking.auc(truth_N, probabilities_NK, labels=[1]).value
    return Measured(precision, seconds, trained / seconds, accuracy, float("nan") if auc is None else auc)


if __name__ == "__main__":
    main()
