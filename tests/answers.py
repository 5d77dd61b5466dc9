"""Evaluations whose answers for single images are kept, as a worker keeps them."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ml import domain, embedding, evaluation, metrics, scored, self_test
from ml.artifact import Card
from ml.evidence import Evidence
from ml.folding import as_seen
from ml.manifest import Manifest
from ml.pack import PackReader
from ml.self_test import SelfTest
from ml.serving import Predictor
from tests import factories
from webapp.datasets import contents
from webapp.models import Dataset, Evaluation, ModelVersion, db
from webapp.studies import members


def make_answered(
    version: ModelVersion,
    last_class: Sequence[float],
    split: str = "test",
    dataset: Dataset | None = None,
    **values: Any,
) -> Evaluation:
    """A finished evaluation in which the images of the split have these probabilities of the last class, in turn.

    The other classes share the rest. The scores are those of the answers.
    """
    dataset = dataset or version.experiment.dataset
    is_own = dataset.id == version.experiment.dataset_id
    member = members.of(version.experiment) if is_own else None
    rows = as_seen(contents.manifest_of(dataset), member).rows
    numbers = [number for number, row in enumerate(rows) if split in ("all", row.split) and not row.quarantined]
    last_N = np.array([last_class[place % len(last_class)] for place in range(len(numbers))])
    others = len(version.classes) - 1
    probabilities_NK = np.column_stack([*[(1 - last_N) / others] * others, last_N])
    truth_N = np.array([version.classes.index(rows[number].label) for number in numbers], np.int64)
    scores = metrics.evaluate(truth_N, probabilities_NK, version.classes, version.positive_class, None)
    facts = {
        "metrics": scores.model_dump(mode="json"),
        "confident_errors": [],
        "predictions_sha256": _kept(version, numbers, probabilities_NK),
        "status": "succeeded",
        "progress": 1.0,
    }
    row = Evaluation(version=version, dataset=dataset, split=split, **{**facts, **values})
    db.session.add(row)
    db.session.commit()
    return row


def make_inspected(version: ModelVersion, split: str = "test", **values: Any) -> Evaluation:
    """A finished evaluation with the evidence that a worker keeps: real maps, real neighbours."""
    with _opened(version) as asked:
        found = evaluation.evaluate_split(*asked, split, None, lambda done, total: None)
        trained = embedding.of_split(*asked, "train")
    dataset = version.experiment.dataset
    numbers = [one.number for one in found.answers]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "evidence"
        Evidence.of(numbers, found.maps_NHW, found.embedding_NC, trained).write(path)
        evidence_sha256 = _stored(path)
    facts = {
        "metrics": found.metrics.model_dump(mode="json"),
        "confident_errors": [one.model_dump(mode="json") for one in evaluation.confident_errors(found)],
        "predictions_sha256": _kept(version, numbers, found.probabilities_NK),
        "evidence_sha256": evidence_sha256,
        "status": "succeeded",
        "progress": 1.0,
    }
    row = Evaluation(version=version, dataset=dataset, split=split, **{**facts, **values})
    db.session.add(row)
    db.session.commit()
    return row


def guard(version: ModelVersion, figures: int | None = None) -> None:
    """Gives the version what tells foreign images, as the end of a training does; of embeddings of `figures` only."""
    with _opened(version) as asked:
        trained, validated = (embedding.of_split(*asked, split) for split in ("train", "validation"))
    found = domain.fit(trained.embedding_NC, trained.look_NS, validated.embedding_NC, validated.look_NS)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / domain.NAME
        replace(found[0], reference_MC=found[0].reference_MC[:, :figures]).write(path)
        version.files = {**version.files, domain.NAME: _stored(path)}
        version.card = {**version.card, "domain": found[1].model_dump(mode="json")}
    db.session.commit()


def keep_self_test(version: ModelVersion, says: ModelVersion) -> None:
    """Gives the version a self-test, whose stored answers are those of `says`."""
    with _opened(says) as (predictor, _, _), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / self_test.NAMES["float32"]
        SelfTest.of(predictor).write(path)
        version.files = {**version.files, path.name: _stored(path)}
    db.session.commit()


@contextlib.contextmanager
def _opened(version: ModelVersion) -> Iterator[tuple[Predictor, Manifest, PackReader]]:
    """The version's network, and the images that it was trained on."""
    dataset, fetch = version.experiment.dataset, contents.store().fetch
    with contextlib.ExitStack() as stack:
        predictor = Predictor(stack.enter_context(fetch(version.model_sha256)), Card.model_validate(version.card))
        paths = [stack.enter_context(fetch(sha256)) for sha256 in dataset.pack_sha256s]
        yield predictor, contents.manifest_of(dataset), stack.enter_context(PackReader(paths))


def make_other_version(version: ModelVersion, **values: Any) -> ModelVersion:
    """Another version, trained on the same data set."""
    experiment = factories.make_experiment(version.experiment.dataset, status="succeeded", progress=1.0, **values)
    return factories.make_version(experiment)


def _kept(version: ModelVersion, numbers: list[int], probabilities_NK: np.ndarray) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scored"
        scored.write(path, version.classes, zip(numbers, probabilities_NK.tolist(), strict=True))
        return _stored(path)


def _stored(path: Path) -> str:
    with path.open("rb") as stream:
        return contents.store().keep(stream)
