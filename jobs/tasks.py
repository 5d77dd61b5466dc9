"""The job functions: row -> ml -> row. They take ids, and may run twice: the second finds nothing to claim."""

import contextlib
import functools
import logging
from pathlib import Path
from typing import Any, cast

from sqlalchemy import delete, select

from jobs import ingestion, rates, scoring
from jobs.attempt import HandedOver
from jobs.work import Work, run
from ml.artifact import Card
from ml.config import Split, TrainConfig
from ml.folding import Member, as_seen
from ml.manifest import Manifest
from ml.pack import PackReader
from ml.progress import EpochResult, Progress
from webapp.datasets import versions
from webapp.models import (
    BatchPrediction,
    Dataset,
    Epoch,
    Evaluation,
    Experiment,
    ModelVersion,
    RateSearch,
    db,
    take_turns,
)
from webapp.searches import service as searches
from webapp.storage import DamagedObject, MissingObject, verify
from webapp.studies import members, pooling

log = logging.getLogger(__name__)
ERRORS_SHOWN = 24


def ingest(dataset_id: int) -> None:
    run(Dataset, dataset_id, ingestion.ingest)


def find_rate(rate_search_id: int) -> None:
    run(RateSearch, rate_search_id, rates.find)


def train(experiment_id: int) -> None:
    run(Experiment, experiment_id, _train, after=searches.advance_with)


def evaluate(evaluation_id: int) -> None:
    run(Evaluation, evaluation_id, _evaluate)


def score(batch_id: int) -> None:
    run(BatchPrediction, batch_id, scoring.score)


class _GivenUp(Exception):
    """The search of this trial expects nothing of it any more."""


def _train(work: Work) -> None:
    from ml import device, training

    experiment = db.session.get_one(Experiment, work.attempt.row_id)
    dataset, config = experiment.dataset, TrainConfig.model_validate(experiment.config)
    names = {"name": experiment.name, "dataset_name": dataset.name, "dataset_number": dataset.number}
    checkpoint_sha256, number = experiment.checkpoint_sha256, experiment.attempts
    member = members.of(experiment)
    db.session.expunge_all()
    db.session.remove()

    with contextlib.ExitStack() as stack:
        stored, packs = stack.enter_context(work.images_of(dataset))
        manifest = as_seen(stored, member)
        chosen = device.choose(config.device, work.settings.device, config.devices)
        work.attempt.report(phase="preparing images", device=device.describe(chosen, config.devices))
        try:
            fitted = training.fit(
                config,
                manifest,
                packs,
                work.scratch,
                report=functools.partial(_report_training, work, number),
                save_checkpoint=functools.partial(_keep_checkpoint, work),
                resume_from=_checkpoint(work, stack, checkpoint_sha256) if checkpoint_sha256 else None,
                resolve_version=functools.partial(work.state_dict_of_version, stack),
                weights_dir=work.settings.weights_dir,
                default_device=work.settings.device,
                shelf=work.shelf,
            )
        except _GivenUp as given_up:
            work.attempt.end("cancelled", pruned_epoch=given_up.args[0], eta_s=None)
            return
        _publish(work, fitted, config, manifest, packs, names, member)
    if member:
        pooling.pool(member.study)


def _checkpoint(work: Work, stack: contextlib.ExitStack, sha256: str) -> Path | None:
    """The file to resume from; None, and training begins anew, where the store has lost or damaged it.

    The row names it until the first new epoch is kept: a bucket that was the wrong one may be put right before.
    """
    fault: Exception | None = None
    for _ in range(2):  # where only this machine's copy is damaged, the second one is sound
        try:
            with work.store.fetch(sha256) as path:
                verify(path, sha256)
            return stack.enter_context(work.store.fetch(sha256))
        except (MissingObject, DamagedObject) as error:
            fault = error
    log.warning("checkpoint_lost", exc_info=fault, extra={"row_id": work.attempt.row_id})
    return None


def _report_training(work: Work, attempt_number: int, progress: Progress) -> None:
    """Keeps an epoch that ended, then notes where training stands, which may raise."""
    if progress.epoch == 0:
        work.attempt.report(phase=f"preparing images: {progress.prepared:.0%}", device=progress.device)
        return
    if progress.epoch_result:
        _save_epoch(work, attempt_number, progress.epoch_result)
        if progress.epoch < progress.epochs and _is_given_up(work):
            raise _GivenUp(progress.epoch)
    total = progress.epochs * progress.steps
    done = (progress.epoch - 1) * progress.steps + progress.step
    work.attempt.report(
        progress=done / total,
        phase=f"epoch {progress.epoch} of {progress.epochs}",
        eta_s=progress.left_s,
        images_per_s=progress.images_per_s,
    )


def _is_given_up(work: Work) -> bool:
    try:
        return searches.is_hopeless(work.attempt.row_id)
    finally:
        db.session.remove()


def _keep_checkpoint(work: Work, path: Path, epoch: int) -> None:
    """Keeps the file. The row points to it together with the epoch's figures: no run resumes behind a gap."""
    work.checkpoint_sha256 = work.keep(path)


def _save_epoch(work: Work, attempt_number: int, result: EpochResult) -> None:
    """Writes the epoch in place of what an earlier attempt knew of it and of later ones, and points to its checkpoint.

    Workers that were lost before are forgiven: the run gets on. Raises HandedOver where the database has crashed and
    come back without the epoch before: the next attempt goes on from what the row names.
    """
    named = select(Experiment.checkpoint_sha256, Experiment.checkpoint_epoch)
    before, number_before = db.session.execute(named.where(Experiment.id == work.attempt.row_id)).one()
    if number_before < result.number - 1:
        raise HandedOver(f"attempt {work.attempt.token}")
    earlier = Epoch.experiment_id == work.attempt.row_id, Epoch.number >= result.number
    db.session.execute(delete(Epoch).where(*earlier))
    db.session.add(Epoch(experiment_id=work.attempt.row_id, attempt=attempt_number, **result.model_dump()))
    work.attempt.save(checkpoint_sha256=work.checkpoint_sha256, checkpoint_epoch=result.number, losses=0)
    _forget_outdated(work, before)
    db.session.remove()


def _forget_outdated(work: Work, before: str | None) -> None:
    """Removes the checkpoint of two epochs ago. That of `before` stays: a crash may take back the last epoch."""
    outdated, work.checkpoint_before_sha256 = work.checkpoint_before_sha256, before
    if outdated and outdated not in (before, work.checkpoint_sha256):
        still_used = db.session.scalar(select(Experiment.id).where(Experiment.checkpoint_sha256 == outdated).limit(1))
        if still_used is None:
            work.store.delete(outdated)


def _publish(
    work: Work,
    fitted: Any,
    config: TrainConfig,
    manifest: Manifest,
    packs: PackReader,
    names: dict[str, Any],
    member: Member | None,
) -> None:
    """Exports the network, scores what will be served, and makes the version in one transaction."""
    from ml.release import release

    def report(done: int, total: int) -> None:
        work.attempt.report(phase="evaluating" if total else "exporting")

    work.attempt.report(phase="exporting", eta_s=None)
    folder = work.scratch / "version"
    made = release(fitted, config, manifest, packs, folder, report=report, **names)
    work.attempt.report(phase="storing")
    card = made.card.model_copy(update={"study": member})
    card.write(folder)
    files = {path.name: work.keep(path) for path in sorted(folder.iterdir())}
    _make_version(work, card, files, _scores(work, card, made.tested, made.trained))


def _make_version(work: Work, card: Card, files: dict[str, str], scores: dict[str, Any]) -> None:
    take_turns()  # a group that is removed at this moment marks the version, or finds it
    experiment = db.session.get_one(Experiment, work.attempt.row_id, populate_existing=True)
    db.session.refresh(experiment.dataset)
    version = ModelVersion(
        experiment_id=experiment.id,
        name=card.name,
        network=card.network,
        classes=list(card.classes),
        positive_class=card.positive_class,
        files=files,
        card=card.model_dump(mode="json"),
        removed_groups=versions.groups_taken_out_since(experiment),
    )
    db.session.add(version)
    db.session.add(
        Evaluation(
            version=version,
            dataset_id=experiment.dataset_id,
            split="test",
            status="succeeded",
            progress=1.0,
            created_by_id=experiment.created_by_id,
            **scores,
        )
    )
    db.session.flush()
    work.attempt.end("succeeded", progress=1.0, phase="", eta_s=None)


def _scores(work: Work, card: Card, evaluated: Any, trained: Any) -> dict[str, Any]:
    """The columns of an evaluation; what was said of each image, and what explains it, is kept in the store."""
    from ml import evaluation, scored

    path = work.scratch / "scored"
    scored.write(path, card.classes, ((one.number, one.probabilities.values()) for one in evaluated.answers))
    errors = evaluation.confident_errors(evaluated, ERRORS_SHOWN)
    return {
        "metrics": evaluated.metrics.model_dump(mode="json"),
        "confident_errors": [error.model_dump(mode="json") for error in errors],
        "predictions_sha256": work.keep(path),
        "evidence_sha256": _evidence(work, evaluated, trained),
    }


def _evidence(work: Work, evaluated: Any, trained: Any) -> str | None:
    """Maps and nearest training images, kept; None for a version without maps."""
    from ml.evidence import Evidence

    if evaluated.maps_NHW is None:
        return None
    numbers, path = [one.number for one in evaluated.answers], work.scratch / "evidence"
    Evidence.of(numbers, evaluated.maps_NHW, evaluated.embedding_NC, trained).write(path)
    return work.keep(path)


def _evaluate(work: Work) -> None:
    from ml import embedding, evaluation, robustness
    from ml.serving import Predictor

    row = db.session.get_one(Evaluation, work.attempt.row_id)
    version, dataset, split, is_stressed = row.version, row.dataset, cast(Split, row.split), row.is_stressed
    is_own = dataset.id == version.experiment.dataset_id
    member = members.of(version.experiment) if is_own else None  # a fold's test images, not those that it learned
    db.session.expunge_all()
    db.session.remove()
    card = Card.model_validate(version.card)

    def report(phase: str, done: int, total: int) -> None:
        work.attempt.report(progress=done / max(total, 1), phase=phase)

    with work.store.fetch(version.model_sha256) as path, work.images_of(dataset) as (stored, packs):
        manifest = as_seen(stored, member)
        predictor = Predictor(path, card, threads=0)
        asked = (predictor, manifest, packs, split, card.operating_point)
        evaluated = evaluation.evaluate_split(*asked, functools.partial(report, "scoring images"))
        stressed = robustness.measure(*asked, functools.partial(report, "changing images")) if is_stressed else None
    trained = None
    if embedding.NAME in version.files:
        with work.store.fetch(version.files[embedding.NAME]) as path:
            trained = embedding.Embeddings.read(path)
    scores = _scores(work, card, evaluated, trained)
    kept = stressed.model_dump(mode="json") if stressed else None
    work.attempt.end("succeeded", progress=1.0, phase="", robustness=kept, **scores)
