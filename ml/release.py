"""From a finished run to a version that can be served: exported, proven, scored."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ml import domain, drift, embedding, evaluation, export, folding, quantization, self_test
from ml.artifact import FILES, MODEL_FILES, Card, file_sha256
from ml.config import TrainConfig
from ml.domain import Domain, DomainRule
from ml.embedding import Embeddings
from ml.errors import BadArtifact
from ml.evaluation import Evaluated
from ml.manifest import Manifest
from ml.pack import PackReader
from ml.self_test import SelfTest
from ml.serving import Predictor
from ml.training import Fitted

# The files that a version may have, beside its card. A run's folder may hold more, such as a checkpoint.
_ALL = {*FILES, *MODEL_FILES.values(), *self_test.NAMES.values(), embedding.NAME, domain.NAME}


@dataclass(frozen=True)
class Release:
    """The card, as it lies in the folder, the answers on 'test' that its scores come from, and the training images."""

    card: Card
    tested: Evaluated
    trained: Embeddings


def release(
    fitted: Fitted,
    config: TrainConfig,
    manifest: Manifest,
    packs: PackReader,
    folder: Path,
    name: str,
    dataset_name: str,
    report: Callable[[int, int], None] = lambda done, total: None,
    dataset_number: int | None = None,
) -> Release:
    """The version in `folder`: its files and its card. What is scored is the exported graph, as it will be served.

    'validation' fixes the operating point, the temperature, the conformal rules, the abstention and what serving is
    compared with; 'test' only reports. `report` hears how many images of a split are scored, and 0 of 0 between the
    steps of the export; it may raise to stop. Raises ParityError.
    """
    card = export.export(
        fitted,
        config,
        manifest,
        packs,
        folder,
        name,
        dataset_name,
        dataset_number=dataset_number,
        tick=lambda: report(0, 0),
    )
    return _scored(card, manifest, packs, folder, report)


def release_again(folder: Path, manifest: Manifest, packs: PackReader) -> Release:
    """The version in `folder`, everything in it but its weights made anew, by the code of today.

    Raises BadArtifact where the data set is not the one it was trained on, and ParityError.
    """
    trained_on = Card.read(folder).dataset
    seen = folding.as_seen(manifest, Card.read(folder).study)
    if seen.content_sha256() != trained_on.sha256:
        raise BadArtifact(
            f"This version was trained on the data set '{trained_on.name}' of hash {trained_on.sha256[:12]}; the one "
            f"given has {seen.content_sha256()[:12]}. Its scores and its guard can be renewed from its own data only."
        )
    card = export.export_again(folder, seen, packs)
    for name in _ALL - {*FILES}:
        (folder / name).unlink(missing_ok=True)  # what is not made again must not stay
    return _scored(card, seen, packs, folder, lambda done, total: None)


def _scored(
    exported: Card, manifest: Manifest, packs: PackReader, folder: Path, report: Callable[[int, int], None]
) -> Release:
    """The version whose graph lies in `folder`, judged by that graph; its card and what lies beside are written."""
    card = exported.model_copy(update={"conformal": (), "operating_point": None})
    predictor = Predictor(folder / "model.onnx", card, threads=0)
    SelfTest.of(predictor).write(folder / self_test.NAMES["float32"])
    validated = evaluation.evaluate_split(predictor, manifest, packs, "validation", None, report)
    point = evaluation.choose_operating_point(validated, card.config.operating_target, card.config.operating_value)
    predictor.card = card.model_copy(update={"conformal": evaluation.conformal_rules(validated)})
    tested = evaluation.evaluate_split(predictor, manifest, packs, "test", point, report)
    seen = functools.partial(embedding.of_split, predictor, manifest, packs, report=lambda done, total: report(0, 0))
    trained = seen("train")
    trained.write(folder / embedding.NAME)
    guard, rule = _guard(trained, seen("validation"), folder) if card.config.domain_guard else (None, None)
    variants = quantization.add(predictor, manifest, packs, folder, validated, point, guard, report)
    scores = {
        "files": {name: file_sha256(folder / name) for name in sorted(_ALL) if (folder / name).is_file()},
        "variants": variants,
        "domain": rule,
        "operating_point": point,
        "abstention": evaluation.fit_abstention(card.config, point, validated, tested),
        "temperature": evaluation.fit_temperature(validated, tested),
        "metrics": tested.metrics,
        "validation_metrics": validated.metrics,
        "reference": drift.reference(validated.probabilities_NK, card.classes, card.positive_class, point),
    }
    card = predictor.card.model_copy(update=scores)
    card.write(folder)
    return Release(card, tested, trained)


def _guard(trained: Embeddings, validated: Embeddings, folder: Path) -> tuple[Domain, DomainRule] | tuple[None, None]:
    """What tells foreign images, written into the folder."""
    fixed = domain.fit(trained.embedding_NC, trained.look_NS, validated.embedding_NC, validated.look_NS)
    if fixed is None:
        return None, None
    fixed[0].write(folder / domain.NAME)
    return fixed
