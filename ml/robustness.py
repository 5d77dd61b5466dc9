"""Robustness: what becomes of the scores when images are darker, blurred, noisy, compressed or turned.

An image is changed as the network meets it, at its size, so that a strength means the same for every image; blur is a
share of its side. What is random comes from a seed, the image's number and the change alone.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from ml import comparison, draws, evaluation, metrics
from ml.comparison import Difference
from ml.config import Frozen, Split
from ml.decisions import OperatingPoint, decide
from ml.intervals import Score
from ml.manifest import Manifest
from ml.pack import PackReader
from ml.serving import Predictor

MOST_IMAGES = 2_000
STRENGTHS: dict[str, tuple[float, ...]] = {
    "brightness": (0.6, 0.8, 1.2, 1.4),
    "blur": (0.005, 0.01, 0.02),
    "noise": (0.02, 0.05, 0.1),
    "jpeg": (50, 20, 10),
    "rotation": (5, 10, 20),
}
Pixels = NDArray[np.uint8]


class Outcome(Frozen):
    """The scores under one change, and how far they moved from those of the unchanged images, paired by image.

    `strength`: the factor of brightness; the radius of the blur as a share of the side; the standard deviation of the
    noise as a share of full white; the quality of the JPEG; the degrees of the turn, either way.
    """

    change: str  # a key of STRENGTHS, or "none"
    strength: float | None
    accuracy: Score
    auc: Score
    sensitivity: Score
    specificity: Score
    accuracy_moved: Difference = Difference()
    auc_moved: Difference = Difference()
    sensitivity_moved: Difference = Difference()


class Robustness(Frozen):
    """Outcomes on `n` of the `of` images of a split, spread evenly; the first is that of the unchanged images."""

    n: int
    of: int
    seed: int
    operating_point: OperatingPoint | None
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True)
class _Truth:
    """What every change is judged against."""

    predictor: Predictor
    truth_N: NDArray[np.int64]
    groups: list[str | None]
    operating_point: OperatingPoint | None


def measure(
    predictor: Predictor,
    manifest: Manifest,
    packs: PackReader,
    split: Split | Literal["all"],
    operating_point: OperatingPoint | None,
    report: Callable[[int, int], None],
    seed: int = 0,
) -> Robustness:
    """The scores of a version under every change at every strength, at its locked operating point.

    `report(done, total)` hears of every change and may raise to stop.
    """
    rows = evaluation.rows_of(manifest, split)
    places = np.linspace(0, len(rows) - 1, min(len(rows), MOST_IMAGES)).round().astype(int)
    chosen = [rows[place] for place in places]
    classes = predictor.card.classes
    truth_N = np.array([classes.index(row.label) for _, row in chosen], np.int64)
    truth = _Truth(predictor, truth_N, [row.group for _, row in chosen], operating_point)
    wanted = [("none", None), *((change, at) for change, strengths in STRENGTHS.items() for at in strengths)]
    said: list[list[NDArray[np.float32]]] = [[] for _ in wanted]
    done = 0
    for batch_NCHW in evaluation.pixels(predictor, packs, chosen):
        numbers = [number for number, _ in chosen[done : done + len(batch_NCHW)]]
        for index, (change, strength) in enumerate(wanted):
            report(done * len(wanted) + index * len(batch_NCHW), len(chosen) * len(wanted))
            said[index].append(predictor.probabilities(_changed(batch_NCHW, change, strength, numbers, seed)))
        done += len(batch_NCHW)
    nothing_NK = np.zeros((0, len(classes)), np.float32)
    probabilities = [np.concatenate([nothing_NK, *parts]) for parts in said]
    outcomes = tuple(
        _outcome(truth, change, strength, probabilities[0], changed_NK)
        for (change, strength), changed_NK in zip(wanted, probabilities, strict=True)
    )
    return Robustness(n=len(chosen), of=len(rows), seed=seed, operating_point=operating_point, outcomes=outcomes)


def _changed(batch_NCHW: Pixels, change: str, strength: float | None, numbers: Sequence[int], seed: int) -> Pixels:
    if strength is None:
        return batch_NCHW
    changed = []
    for image_CHW, number in zip(batch_NCHW, numbers, strict=True):
        random = np.random.default_rng([seed, number, list(STRENGTHS).index(change), STRENGTHS[change].index(strength)])
        changed.append(apply(image_CHW.transpose(1, 2, 0), change, strength, random).transpose(2, 0, 1))
    return np.ascontiguousarray(np.stack(changed))


def apply(image_HWC: Pixels, change: str, strength: float, random: np.random.Generator) -> Pixels:
    """The image under one change."""
    if change == "noise":
        noise_HWC = random.normal(0, 255 * strength, (*image_HWC.shape[:2], 1))  # grey: as of a detector
        return np.rint(image_HWC + noise_HWC).clip(0, 255).astype(np.uint8)
    if change == "rotation":
        return _turned(image_HWC, strength * random.choice((-1, 1)))
    image = Image.fromarray(image_HWC.squeeze())
    if change == "brightness":
        image = ImageEnhance.Brightness(image).enhance(strength)
    elif change == "blur":
        image = image.filter(ImageFilter.GaussianBlur(strength * image.width))
    else:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(strength))
        image = Image.open(file)
    return np.asarray(image).reshape(image_HWC.shape)


def _turned(image_HWC: Pixels, degrees: float) -> Pixels:
    """About the middle; beyond an edge lies its mirror image."""
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    affine_123 = np.array([[[cosine, -sine, 0], [sine, cosine, 0]]], np.float32)
    return draws.apply(image_HWC, draws.Drawn(affine_123, None), 0)


def _outcome(
    truth: _Truth, change: str, strength: float | None, plain_NK: NDArray[np.float32], changed_NK: NDArray[np.float32]
) -> Outcome:
    card, point = truth.predictor.card, truth.operating_point
    scores = metrics.evaluate(truth.truth_N, changed_NK, card.classes, card.positive_class, point, truth.groups)
    named = {name: getattr(scores, name) for name in ("accuracy", "auc", "sensitivity", "specificity")}
    moved = {} if strength is None else _moved(truth, plain_NK, changed_NK)
    return Outcome(change=change, strength=strength, **named, **moved)


def _moved(truth: _Truth, plain_NK: NDArray[np.float32], changed_NK: NDArray[np.float32]) -> dict[str, Difference]:
    """Changed minus unchanged; images of one group count together."""
    card, point, truth_N = truth.predictor.card, truth.operating_point, truth.truth_N
    both = (plain_NK, changed_NK)
    right = [decide(one_NK, card.classes, card.positive_class, point) == truth_N for one_NK in both]
    group_N = _groups(truth.groups)
    moved = {"accuracy_moved": comparison.accuracy_difference(right[0], right[1], group_N)}
    if card.positive_class is not None:
        positive = card.classes.index(card.positive_class)
        is_positive_N = truth_N == positive
        ill = [one_N[is_positive_N] for one_N in right]
        probability_2N = np.stack([one_NK[:, positive].astype(np.float64) for one_NK in both])
        moved["auc_moved"] = comparison.auc_difference(is_positive_N, probability_2N, group_N)
        moved["sensitivity_moved"] = comparison.accuracy_difference(ill[0], ill[1], group_N[is_positive_N])
    return moved


def _groups(names: Sequence[str | None]) -> NDArray[np.int64]:
    """A number for each group; an image without one is a group of its own."""
    keys = [name if name is not None else f"\0{place}" for place, name in enumerate(names)]
    return np.unique(keys, return_inverse=True)[1]
