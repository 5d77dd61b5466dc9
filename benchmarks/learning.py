"""How well the presets learn BreastMNIST: fine-tuning with ImageNet weights at 224 px, the small network at 64 px.

Through the product's own path: ingest of the npz, `fit`, export, and the exported graph judged as it would serve. Three
seeds each, on the official split. No choice was made on test: the recipes are the presets, the best epoch is chosen on
validation. Training leaves contradictory images in quarantine, as always; the test images are all that were published,
contradictory ones too, so that the scores stand beside published ones. The other rows are parts of them: those without
a copy or near copy in training or validation, and those with one. Accuracy is that of the more probable class, without
a threshold. Needs `breastmnist_224_rebuilt.npz` and `breastmnist_64.npz` in the folder `APP_TEST_DATA`.
"""

import json
import multiprocessing
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml import metrics, training
from ml.artifact import Card
from ml.config import ArchiveLimits, IngestOptions
from ml.evaluation import evaluate_split
from ml.ingest import MANIFEST_NAME, ingest
from ml.intervals import Score
from ml.manifest import Manifest
from ml.pack import PackReader
from ml.presets import presets
from ml.release import release
from ml.serving import Predictor
from ml.spread import spread
from ml.threads import share_cores

SEEDS = (0, 1, 2)
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
    """The scores of every part of the test images, then the contract's figures as JSON."""
    figures: dict[str, Any] = {}
    print(
        f"{'preset, test images':<34}{'n':>5}   {'AUC, one column a seed':<23}{'mean':>6}   {'accuracy':<23}{'mean':>6}"
    )
    for task, judged in runs.items():
        for part, is_seen in (("all", None), ("without a copy", False), ("with a copy", True)):
            chosen = [one if is_seen is None else _part(one, is_seen) for one in judged]
            areas, shares = [_auc(one) for one in chosen], [_accuracy(one) for one in chosen]
            print(f"{f'{task.preset}, {part}':<34}{len(chosen[0].truth_N):>5}   {_cells(areas)}   {_cells(shares)}")
            name = {None: "", False: "_unseen", True: "_seen"}[is_seen]
            figures |= _figure(f"auc_{task.name}{name}", areas) | _figure(f"accuracy_{task.name}{name}", shares)
        print(f"{'':<8}{_course(judged)}")
    print(json.dumps(figures))


def _part(judged: Judged, is_seen: bool) -> Judged:
    chosen_N = judged.is_seen_N == is_seen
    return replace(
        judged, truth_N=judged.truth_N[chosen_N], probabilities_NK=judged.probabilities_NK[chosen_N], is_seen_N=chosen_N
    )


def _auc(judged: Judged) -> float:
    scores = metrics.evaluate(judged.truth_N, judged.probabilities_NK, tuple(CLASSES.values()), "malignant")
    return scores.auc.value or 0.0


def _accuracy(judged: Judged) -> float:
    return float((judged.probabilities_NK.argmax(axis=1) == judged.truth_N).mean())


def _cells(values: list[float]) -> str:
    return f"{'  '.join(f'{value:.3f}' for value in values):<23}{np.mean(values):>6.3f}"


def _course(judged: list[Judged]) -> str:
    epochs = ", ".join(f"{one.best_epoch} of {one.epochs}" for one in judged)
    return f"best epochs {epochs}; {np.mean([one.seconds for one in judged]):.0f} s a seed"


def _figure(name: str, values: list[float]) -> dict[str, float | None]:
    """Mean over the seeds and the interval of that mean, as studies have it: Student's t."""
    interval: Score = spread(values).interval
    bounds = {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return {key: None if value is None else round(value, 4) for key, value in bounds.items()}


if __name__ == "__main__":
    main()
