"""Evaluation: a finished version scored on one split of a data set, through the same code that serves."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml import abstention, conformal, images, metrics, temperature
from ml.abstention import Abstention, Decided, Policy
from ml.config import Frozen, Split, TrainConfig
from ml.conformal import ConformalRule
from ml.decisions import OperatingPoint, choose_threshold, decide
from ml.errors import BadConfig
from ml.manifest import ImageRow, Manifest
from ml.metrics import Metrics
from ml.pack import PackReader
from ml.serving import Predictor
from ml.temperature import Temperature

BATCH_SIZE = 64

NumberedRow = tuple[int, ImageRow]


class Scored(Frozen):
    """What the model said of one image of a data set."""

    number: int  # of the row in the manifest
    path: str
    truth: str
    predicted: str
    probability: float  # of `predicted`
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Evaluated:
    """The scores of a split and the answers that they come from, in the manifest's order."""

    metrics: Metrics
    answers: list[Scored]
    truth_N: NDArray[np.int64]
    probabilities_NK: NDArray[np.float32]
    maps_NHW: NDArray[np.float32] | None = None  # of the classes decided for; None where the version has no maps
    embedding_NC: NDArray[np.float32] | None = None  # of length 1


def evaluate_split(
    predictor: Predictor,
    manifest: Manifest,
    packs: PackReader,
    split: Split | Literal["all"],
    operating_point: OperatingPoint | None,
    report: Callable[[int, int], None],
) -> Evaluated:
    """The version's scores on a split at an operating point; a split without images has empty scores.

    `report(done, total)` hears of every batch and may raise to stop. Raises BadConfig where the data set has other
    classes than the version, BadArtifact where a pack is damaged.
    """
    card = predictor.card
    _check_classes(card.classes, manifest.classes)
    rows = rows_of(manifest, split)
    answers: list[Scored] = []
    parts: list[tuple[NDArray[np.float32], ...]] = []
    report(0, len(rows))
    for batch_NCHW in pixels(predictor, packs, rows):
        parts.append(_said(predictor, batch_NCHW, operating_point))
        batch = rows[len(answers) : len(answers) + len(batch_NCHW)]
        answers += _scored(predictor, batch, parts[-1][0], operating_point)
        report(len(answers), len(rows))
    truth_N = np.array([card.classes.index(row.label) for _, row in rows], np.int64)
    nothing_NK = np.zeros((0, len(card.classes)), np.float32)
    probabilities_NK, *evidence = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)] or [nothing_NK]
    scores = metrics.evaluate(
        truth_N,
        probabilities_NK,
        card.classes,
        card.positive_class,
        operating_point,
        groups=[row.group for _, row in rows],
        rules=card.conformal,
    )
    return Evaluated(scores, answers, truth_N, probabilities_NK, *evidence)


def rows_of(manifest: Manifest, split: Split | Literal["all"]) -> list[NumberedRow]:
    """The images of a split with their numbers; of those in quarantine it is not known which label is right."""
    return [
        (number, row) for number, row in enumerate(manifest.rows) if split in ("all", row.split) and not row.quarantined
    ]


def pixels(predictor: Predictor, packs: PackReader, rows: Sequence[NumberedRow]) -> Iterator[NDArray[np.uint8]]:
    """The images as the network takes them, in batches."""
    spec = predictor.card.input
    for start in range(0, len(rows), BATCH_SIZE):
        batch = rows[start : start + BATCH_SIZE]
        yield np.stack([images.to_input(packs.read(row.pack, row.member), spec) for _, row in batch])


def _said(
    predictor: Predictor, batch_NCHW: NDArray[np.uint8], operating_point: OperatingPoint | None
) -> tuple[NDArray[np.float32], ...]:
    """Probabilities of a batch; with them the maps of the decided classes and the embeddings, if there are any."""
    if not predictor.can_explain:
        return (predictor.probabilities(batch_NCHW),)
    card, seen = predictor.card, predictor.see(batch_NCHW)
    decided_N = decide(seen.probabilities_NK, card.classes, card.positive_class, operating_point)
    return seen.probabilities_NK, seen.maps(decided_N), seen.directions


def choose_operating_point(
    evaluated: Evaluated, target: Literal["youden", "sensitivity", "specificity"] = "youden", value: float = 0.90
) -> OperatingPoint | None:
    """The operating point that the evaluated images choose for a target: those of the split 'validation'.

    None without a positive class, and where the images cannot tell (see `ml.decisions.choose_threshold`).
    """
    positive = _positive(evaluated)
    if positive is None:
        return None
    is_positive_N = evaluated.truth_N == positive
    return choose_threshold(is_positive_N, evaluated.probabilities_NK[:, positive], target, value)


def conformal_rules(validated: Evaluated) -> tuple[ConformalRule, ...]:
    """The rules that the images of 'validation' fix."""
    return conformal.fit(validated.truth_N, validated.probabilities_NK)


def fit_temperature(validated: Evaluated, tested: Evaluated) -> Temperature | None:
    """The temperature that the images of 'validation' fix, with what it does to them and to those of 'test'."""
    value = temperature.fit(validated.truth_N, validated.probabilities_NK)
    if value is None:
        return None
    of_validation, of_test = (
        temperature.compare(one.truth_N, one.probabilities_NK, _positive(one), value) for one in (validated, tested)
    )
    return Temperature(value=value, validation=of_validation, test=of_test)


def fit_abstention(
    config: TrainConfig, point: OperatingPoint | None, validated: Evaluated, tested: Evaluated
) -> Abstention | None:
    """The policy that the images of 'validation' fix, with what it does to them and to those of 'test'."""
    asked = (config.abstention, config.abstention_level)
    policy = abstention.fit(*asked, validated.truth_N, validated.probabilities_NK)
    if policy is None:
        return None
    of_validation, of_test = (_outcome(policy, point, one) for one in (validated, tested))
    return Abstention(policy=policy, validation=of_validation, test=of_test)


def _outcome(policy: Policy, point: OperatingPoint | None, evaluated: Evaluated) -> Decided:
    scores = evaluated.metrics
    decided_N = decide(evaluated.probabilities_NK, scores.confusion.labels, scores.positive_class, point)
    return abstention.outcome(policy, evaluated.truth_N, evaluated.probabilities_NK, decided_N)


def confident_errors(evaluated: Evaluated, n: int = 24) -> list[Scored]:
    """The wrong answers with the highest probability, surest first."""
    errors = [answer for answer in evaluated.answers if answer.predicted != answer.truth]
    return sorted(errors, key=lambda answer: -answer.probability)[:n]


def _positive(evaluated: Evaluated) -> int | None:
    """The column of the positive class."""
    scores = evaluated.metrics
    return None if scores.positive_class is None else scores.confusion.labels.index(scores.positive_class)


def _check_classes(of_version: Sequence[str], of_dataset: Sequence[str]) -> None:
    if set(of_version) != set(of_dataset):
        raise BadConfig(
            f"The version knows the classes {list(of_version)}, the data set has {list(of_dataset)}. "
            "Choose a data set of the same classes."
        )


def _scored(
    predictor: Predictor,
    batch: Sequence[NumberedRow],
    probabilities_NK: NDArray[np.float32],
    operating_point: OperatingPoint | None,
) -> Iterator[Scored]:
    card = predictor.card
    decided_N = decide(probabilities_NK, card.classes, card.positive_class, operating_point)
    for (number, row), decided, said in zip(batch, decided_N.tolist(), probabilities_NK.tolist(), strict=True):
        yield Scored(
            number=number,
            path=row.path,
            truth=row.label,
            predicted=card.classes[decided],
            probability=said[decided],
            probabilities=dict(zip(card.classes, said, strict=True)),
        )
