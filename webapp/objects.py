"""Which objects of the store are needed: those that a row names."""

from sqlalchemy import select

from webapp.models import FINAL_STATUSES, BatchPrediction, Dataset, Evaluation, Experiment, ModelVersion, Upload, db


def in_use() -> set[str]:
    """The sha256 of everything that a row needs. An archive is needed until its ingest, or its scoring, has ended."""
    used: set[str | None] = set()
    waiting = select(Dataset.archive_part_sha256s).where(Dataset.status.in_(("pending", "review")))
    to_score = select(BatchPrediction.archive_part_sha256s).where(BatchPrediction.status.not_in(FINAL_STATUSES))
    for parts in (part for one in (waiting, to_score, select(Upload.part_sha256s)) for part in db.session.scalars(one)):
        used.update(parts or [])
    for manifest_sha256, packs in db.session.execute(select(Dataset.manifest_sha256, Dataset.pack_sha256s)):
        used |= {manifest_sha256, *packs}
    for kept in db.session.execute(select(Evaluation.predictions_sha256, Evaluation.evidence_sha256)):
        used |= set(kept)
    used |= set(db.session.scalars(select(BatchPrediction.results_sha256)))
    used |= set(db.session.scalars(select(Experiment.checkpoint_sha256).where(Experiment.status != "succeeded")))
    for files in db.session.scalars(select(ModelVersion.files)):
        used |= set(files.values())
    return {sha256 for sha256 in used if sha256}
