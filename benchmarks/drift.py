"""What watching says of images that changed: test images as they are, darker, noisy, inverted, and those of no kind.

A small CNN is trained for six epochs. With `APP_TEST_DATA` the images are those of its `breastmnist_64.npz`, without it
drawn ones. docs/serving.md has the figures of one run.
"""

import os
import tempfile
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ml import images, incoming, synthetic, training
from ml.artifact import Card
from ml.config import TrainConfig
from ml.domain import Domain, DomainRule
from ml.drift import compare, reference
from ml.incoming import KINDS, Distances
from ml.ingest import Ingested, ingest
from ml.ingest_options import ArchiveLimits, IngestOptions
from ml.pack import PackReader
from ml.release import release
from ml.serving import Predictor
from ml.threads import share_cores

FILE = "breastmnist_64.npz"
CONFIG = {"network": "cnn", "image_size_px": 64, "epochs": 6, "device": "cpu"}
Pixels = NDArray[np.uint8]


def main() -> None:
    share_cores()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = _ingested(folder)
        with PackReader(found.pack_paths) as packs:
            card = _card(found, packs, folder)
            spec, rows = card.input, found.manifest.of_split("test")
            tested_NCHW = np.stack([images.to_input(packs.read(row.pack, row.member), spec) for row in rows])
        guard = Domain.read(folder / "version" / "domain.npz")
        predictor = Predictor(folder / "version" / "model.onnx", card, domain=guard)
        for change, batch_NCHW in _changed(tested_NCHW).items():
            print(f"{change:16} {_said(predictor, batch_NCHW)}", flush=True)


def _ingested(folder: Path) -> Ingested:
    archive = Path(os.environ.get("APP_TEST_DATA", "")) / FILE
    if not archive.is_file():
        archive = folder / "drawn.zip"
        synthetic.write_archive(archive, images_per_class=300, size_px=64)
    (folder / "images").mkdir()
    return ingest(archive, folder / "images", IngestOptions(), ArchiveLimits())


def _card(found: Ingested, packs: PackReader, folder: Path) -> Card:
    config = TrainConfig.model_validate(CONFIG)
    fitted = training.fit(config, found.manifest, packs, folder, lambda progress: None, lambda path, n: None)
    return release(fitted, config, found.manifest, packs, folder / "version", "Measured", "Measured").card


def _changed(tested_NCHW: Pixels) -> dict[str, Pixels]:
    dice = np.random.default_rng(0)
    grey_N1HW = dice.normal(0, 40, (len(tested_NCHW), 1, *tested_NCHW.shape[2:]))
    return {
        "as they are": tested_NCHW,
        "a tenth darker": (tested_NCHW * 0.9).astype(np.uint8),
        "half as bright": tested_NCHW // 2,
        "with noise": (tested_NCHW + grey_N1HW).clip(0, 255).astype(np.uint8),
        "inverted": 255 - tested_NCHW,
        "turned by 90°": np.ascontiguousarray(np.rot90(tested_NCHW, axes=(2, 3))),
        "blocks of colour": dice.integers(0, 256, (120, 3, 8, 8), np.uint8).repeat(8, axis=2).repeat(8, axis=3),
    }


def _said(predictor: Predictor, batch_NCHW: Pixels) -> str:
    """One line of the table: outside the domain, both distances, the scores of what got a label."""
    rule = cast(DomainRule, predictor.card.domain)
    kept = cast(Distances, rule.distances)
    answers = predictor.answers_of(batch_NCHW)
    seen = Distances.of(np.array([one.distances for one in answers]).T)
    labelled = [place for place, one in enumerate(answers) if one.in_domain]
    outside = incoming.outside(len(answers) - len(labelled), len(answers), rule.n, rule.within)
    told = [f"outside {outside.outside}/{outside.n} {outside.level}"]
    for kind in KINDS:
        moved = incoming.moved(kept.sample(kind), seen.sample(kind))
        told.append(f"{kind} {moved.shift.psi or 0:.2f} (chance {moved.shift.chance or 0:.2f}) {moved.shift.level}")
        told.append(f"D {moved.test.distance:.2f} p {moved.test.p_value:.3f}" if moved.test else "")
    return " | ".join([*told, _scores(predictor, batch_NCHW[labelled])])


def _scores(predictor: Predictor, batch_NCHW: Pixels) -> str:
    card, kept = predictor.card, predictor.card.reference
    if kept is None or not len(batch_NCHW):
        return "scores: none"
    after = reference(predictor.probabilities(batch_NCHW), card.classes, card.positive_class, card.operating_point)
    found = compare(kept.sample(), after.sample())
    return f"scores {found.scores.psi or 0:.2f} {found.scores.level}, classes {found.answers.psi or 0:.2f}"


if __name__ == "__main__":
    main()
