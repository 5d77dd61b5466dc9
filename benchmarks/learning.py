"""How well the presets learn BreastMNIST: fine-tuning with ImageNet weights at 224 px, the small network at 64 px.

Through the product's own path: ingest of the npz, `fit`, export, and the exported graph judged as it would serve. Three
seeds each, on the official split. No choice was made on test: the recipes are the presets, the best epoch is chosen on
validation. Training leaves contradictory images in quarantine, as always; the test images are all that were published,
contradictory ones too, so that the scores stand beside published ones. "Seen" are those with a copy or near copy in
training or validation. Accuracy is that of the more probable class, without a threshold. The interval is that of the
images, averaged over the seeds. Needs `breastmnist_224_rebuilt.npz` and `breastmnist_64.npz` in `APP_TEST_DATA`.
"""

import json
import multiprocessing
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml import intervals, metrics, training
from ml.artifact import Card
from ml.evaluation import evaluate_split
from ml.ingest import MANIFEST_NAME, ingest
from ml.ingest_options import ArchiveLimits, IngestOptions
from ml.intervals import Score
from ml.manifest import Manifest
from ml.metrics import Metrics
from ml.pack import PackReader
from ml.presets import presets
from ml.release import release
from ml.serving import Predictor
from ml.threads import share_cores

SEEDS = (0, 1, 2)
PARTS = {"all": "", "unseen": "_unseen", "seen": "_seen"}  # of the test images, and what their figures end in
CLASSES = {"0": "malignant", "1": "normal or benign"}


@dataclass(frozen=True)
class Task:
    """A preset on a file, and what its figures are called. The level is the one made for the file's image size."""

    name: str
    file: str
    preset: str


TASKS = (
    Task("224", "breastmnist_224_rebuilt.npz", "efficientnet-best"),
    Task("64_scratch", "breastmnist_64.npz", "cnn-solid"),
)


@dataclass(frozen=True)
class Judged:
    """The test images as one seed's network answered them."""

    truth_N: NDArray[np.int64]
    probabilities_NK: NDArray[np.float32]
    is_seen_N: NDArray[np.bool_]  # has a copy or near copy in training or validation
    epochs: int
    best_epoch: int
    seconds: float


def main() -> None:
    data = Path(os.environ.get("APP_TEST_DATA", ""))
    missing = [task.file for task in TASKS if not (data / task.file).is_file()]
    if missing:
        print(f"APP_TEST_DATA names no folder with {' and '.join(missing)}; nothing is measured.")
        print(json.dumps({"auc_224": None, "accuracy_224": None, "auc_64_scratch": None}))
        return
    with tempfile.TemporaryDirectory() as folder:
        runs = {task: [alone(task, data, Path(folder), seed) for seed in SEEDS] for task in TASKS}
    print_table(runs)


def alone(task: Task, data: Path, folder: Path, seed: int) -> Judged:
    """The run in a process of its own, with the settings of a worker."""
    share_cores()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(run, (task, data, folder, seed))


def run(task: Task, data: Path, folder: Path, seed: int) -> Judged:
    """The answers on test of the network that this seed leads to."""
    manifest, packs = _ingested(data / task.file, folder / task.file)
    preset = presets(len(manifest.of_split("train")))[task.preset].config
    config = preset.model_copy(update={"seed": seed, "device": "cpu"})
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory() as out:
        fitted = training.fit(config, manifest, packs, Path(scratch), lambda progress: None, lambda path, epoch: None)
        release(fitted, config, manifest, packs, Path(out), task.preset, task.file)
        predictor = Predictor(Path(out) / "model.onnx", Card.read(Path(out)), threads=0)
        published = _without_quarantine(manifest)
        tested = evaluate_split(predictor, published, packs, "test", None, lambda done, total: None)
    is_seen_N = _is_seen(published)
    answers = (tested.truth_N, tested.probabilities_NK, is_seen_N)
    return Judged(*answers, len(fitted.history), fitted.best_epoch, fitted.wall_s)


def _ingested(file: Path, folder: Path) -> tuple[Manifest, PackReader]:
    if not folder.exists():
        folder.mkdir()
        ingest(file, folder, IngestOptions(classes=CLASSES), ArchiveLimits())
    return Manifest.read(folder / MANIFEST_NAME), PackReader(sorted(folder.glob("pack-*.zip")))


def _without_quarantine(manifest: Manifest) -> Manifest:
    rows = tuple(replace(row, quarantined=False) for row in manifest.rows)
    return manifest.model_copy(update={"rows": rows})


def _is_seen(manifest: Manifest) -> NDArray[np.bool_]:
    learned = {row.cluster for row in manifest.rows if row.split != "test"} - {None}
    return np.array([row.cluster in learned for row in manifest.of_split("test")])


def print_table(runs: dict[Task, list[Judged]]) -> None:
    """The scores of every part of the test images, then the figures as JSON."""
    figures: dict[str, float | None] = {}
    print(f"{'preset, test images':<32}{'n':>5}  {'score':<10}{'one column a seed':<23}{'mean':<6} 95 % interval")
    for task, judged in runs.items():
        for part, suffix in PARTS.items():
            scored = [_scores(one, part) for one in judged]
            for name in ("auc", "accuracy"):
                seeds = [getattr(scores, name) for scores in scored]
                mean = intervals.mean_of_dependent(seeds)
                print(f"{f'{task.preset}, {part}':<32}{scored[0].n:>5}  {name:<10}{_cells(seeds, mean)}")
                bounds = {"": mean.value, "_low": mean.low, "_high": mean.high}
                figures |= {f"{name}_{task.name}{suffix}{bound}": _rounded(value) for bound, value in bounds.items()}
        epochs = ", ".join(f"{one.best_epoch} of {one.epochs}" for one in judged)
        print(f"{'':<4}best epochs: {epochs}; {np.mean([one.seconds for one in judged]):.0f} s of training a seed")
    print(json.dumps(figures))


def _scores(judged: Judged, part: str) -> Metrics:
    parts_N = {"all": np.ones_like(judged.is_seen_N), "unseen": ~judged.is_seen_N, "seen": judged.is_seen_N}
    chosen_N = parts_N[part]
    classes = tuple(CLASSES.values())
    return metrics.evaluate(judged.truth_N[chosen_N], judged.probabilities_NK[chosen_N], classes, "malignant")


def _cells(seeds: list[Score], mean: Score) -> str:
    columns = "  ".join(f"{seed.value:.3f}" for seed in seeds)
    return f"{columns:<23}{mean.value:.3f}  {mean.low:.3f} to {mean.high:.3f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


if __name__ == "__main__":
    main()
