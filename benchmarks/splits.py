"""The score of one recipe on the split that came with BreastMNIST, beside that on the same split, repaired.

The official split has copies and near copies of single scans on both sides. The repair puts each such unit whole where
most of its images lie. Both sides leave the contradictory images in quarantine, and are trained alike from the same
seeds. The last two rows are the official test images alone, by whether the network has seen a copy of them in training
or while the best epoch was chosen. Needs `breastmnist_224_rebuilt.npz` in the folder `APP_TEST_DATA`.
"""

import json
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ml import metrics, splits, training
from ml.evaluation import Evaluated
from ml.ingest import Ingested, ingest
from ml.ingest_options import ArchiveLimits, IngestOptions
from ml.manifest import Manifest
from ml.metrics import Score
from ml.pack import PackReader
from ml.presets import presets
from ml.release import release
from ml.revision import Change, revise

FILE = "breastmnist_224_rebuilt.npz"
SEEDS = (0, 1, 2)


def main() -> None:
    source = Path(os.environ.get("APP_TEST_DATA", "")) / FILE
    if not source.is_file():
        print(f"APP_TEST_DATA names no folder with {FILE}; nothing is measured.")
        print(json.dumps({"auc_official": None, "auc_repaired": None, "crossing": None}))
        return
    with tempfile.TemporaryDirectory() as folder:
        scores, crossing = _measure(source, Path(folder))
    print(f"{'test images':<26}{'n':>5}{'AUC (95 % interval), one column a seed':>44}{'mean':>8}")
    for name, (images, found) in scores.items():
        cells = "  ".join(f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})" for score in found)
        print(f"{name:<26}{images:>5}  {cells}  {_mean(found):.3f}")
    figures = {f"auc_{name.replace(', ', '_').replace(' ', '_')}": _mean(found) for name, (_, found) in scores.items()}
    print(json.dumps(figures | {"crossing": crossing}))


def _measure(source: Path, folder: Path) -> tuple[dict[str, tuple[int, list[Score]]], int]:
    """For each kind of test images their number and the scores, one for each seed; how many images cross."""
    (folder / "official").mkdir()
    official = ingest(source, folder / "official", IngestOptions(), ArchiveLimits())
    with PackReader(official.pack_paths) as packs:
        repaired = revise(official.manifest, packs, Change(repair=True), folder).manifest
        runs = [_test(official.manifest, packs, seed) for seed in SEEDS]
        runs_repaired = [_test(repaired, packs, seed) for seed in SEEDS]
    is_seen_N = _is_seen(official)
    everything_N, everything_repaired_N = np.ones_like(is_seen_N), np.ones(len(runs_repaired[0].truth_N), bool)
    scores = {
        "official": _scores(runs, everything_N),
        "repaired": _scores(runs_repaired, everything_repaired_N),
        "official, seen": _scores(runs, is_seen_N),
        "official, unseen": _scores(runs, ~is_seen_N),
    }
    return scores, official.report.leaks


def _test(manifest: Manifest, packs: PackReader, seed: int) -> Evaluated:
    config = presets()["cnn-solid"].config.model_copy(update={"seed": seed, "device": "cpu"})
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory() as out:
        fitted = training.fit(config, manifest, packs, Path(scratch), lambda progress: None, lambda path, epoch: None)
        return release(fitted, config, manifest, packs, Path(out), "recipe", "BreastMNIST").tested


def _is_seen(official: Ingested) -> NDArray[np.bool_]:
    """Whether each image of the official test split has a copy in another split."""
    rows = [row for row in official.manifest.rows if not row.quarantined]
    units = splits.units([row.group for row in rows], [row.cluster for row in rows], [row.path for row in rows])
    divided = splits.divided([row.split for row in rows], units)
    return np.array([is_divided for row, is_divided in zip(rows, divided, strict=True) if row.split == "test"])


def _scores(runs: list[Evaluated], chosen_N: NDArray[np.bool_]) -> tuple[int, list[Score]]:
    found = [
        metrics.evaluate(
            run.truth_N[chosen_N],
            run.probabilities_NK[chosen_N],
            run.metrics.confusion.labels,
            run.metrics.positive_class,
        ).auc
        for run in runs
    ]
    return int(chosen_N.sum()), found


def _mean(scores: list[Score]) -> float:
    return round(float(np.mean([score.value for score in scores if score.value is not None])), 3)


if __name__ == "__main__":
    main()
