"""Data sets: row -> ml -> row. An archive is looked at or read, a well-known set fetched, a version changed."""

import contextlib
from pathlib import Path
from typing import Any

from sqlalchemy import select

from jobs.work import Work
from ml import ingest as ingestion
from ml import preview, revision, sources
from ml.errors import BadArchive, BadConfig
from ml.ingest import IngestReport
from ml.ingest_options import ArchiveLimits, IngestOptions
from ml.outline import Outline
from webapp.models import Dataset, db


def ingest(work: Work) -> None:
    """Makes the data set of the row, or what a person must see before."""
    dataset = db.session.get_one(Dataset, work.attempt.row_id)
    parent = db.session.scalar(
        select(Dataset).where(Dataset.line == dataset.line, Dataset.number == dataset.parent_number)
    )
    db.session.expunge_all()
    db.session.remove()
    if parent is not None:
        _revise(work, dataset, parent)
    elif dataset.parent_number is not None:
        raise BadConfig(f"Version {dataset.parent_number}, which was to be changed, is deleted. Change another one.")
    elif dataset.needs_review:
        _preview(work, dataset)
    else:
        _ingest_or_ask_again(work, dataset)


def _ingest_or_ask_again(work: Work, dataset: Dataset) -> None:
    """What a person confirmed and cannot be done goes back to that person: the archive is not to be sent again."""
    try:
        _ingest(work, dataset)
    except (BadArchive, BadConfig) as error:
        if not dataset.preview:
            raise
        work.attempt.end("review", rejected_because=str(error))


def _preview(work: Work, dataset: Dataset) -> None:
    options = IngestOptions.model_validate(dataset.options)
    work.attempt.report(phase="looking through the archive")
    with work.archive_of(dataset) as path:
        found = preview.preview(path, options, ArchiveLimits(), work.attempt.report)
    work.attempt.end("review", preview=found.model_dump(mode="json"), images=found.images, phase="")


def _ingest(work: Work, dataset: Dataset) -> None:
    options = IngestOptions.model_validate(dataset.options)

    def report(done: int) -> None:
        work.attempt.report(images=done, phase="reading images")

    with contextlib.ExitStack() as stack:
        if dataset.source_name is None:
            source: Any = stack.enter_context(work.archive_of(dataset))
        else:
            work.attempt.report(phase="fetching")
            source = sources.candidates_of(
                dataset.source_name, work.settings.datasets_dir, work.scratch, ArchiveLimits(), tick=work.attempt.report
            )
        folder = work.scratch / "dataset"
        folder.mkdir()
        done = ingestion.ingest(source, folder, options, ArchiveLimits(), report)
    work.attempt.report(phase="storing")
    packs = [work.keep(path) for path in done.pack_paths]
    _publish(work, done.outline, done.manifest_path, packs, done.report)


def _revise(work: Work, dataset: Dataset, parent: Dataset) -> None:
    options = IngestOptions.model_validate(parent.options)
    folder = work.scratch / "dataset"
    folder.mkdir()

    def report(done: int) -> None:
        work.attempt.report(images=done, phase="making the version")

    with work.images_of(parent) as (manifest, packs):
        change = revision.Change.model_validate(dataset.change)
        revised = revision.revise(manifest, packs, change, folder, options.splits, report)
    work.attempt.report(phase="storing")
    addresses = [parent.pack_sha256s[pack] if isinstance(pack, int) else work.keep(pack) for pack in revised.packs]
    path = work.scratch / ingestion.MANIFEST_NAME
    revised.manifest.write(path)
    difference = revised.difference.model_dump(mode="json")
    _publish(work, revised.manifest.outline(), path, addresses, revised.report, difference=difference)


def _publish(
    work: Work, outline: Outline, manifest_path: Path, packs: list[str], report: IngestReport, **more: Any
) -> None:
    work.attempt.end(
        "ready",
        sha256=outline.content_sha256(),
        manifest_sha256=work.keep(manifest_path),
        pack_sha256s=packs,
        images=len(outline),
        groups=len(set(filter(None, outline.groups))),
        classes=[{"name": name, **counts} for name, counts in outline.counts().items()],
        positive_class=outline.positive_class,
        report=report.model_dump(mode="json") | more,
        progress=1.0,
        phase="",
    )
