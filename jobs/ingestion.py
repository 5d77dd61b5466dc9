"""Data sets: row -> ml -> row. An archive or a well-known set becomes packs and a manifest in the store."""

import contextlib
from typing import Any

from jobs.work import Work
from ml import ingest as ingestion
from ml import sources
from ml.config import ArchiveLimits, IngestOptions
from webapp.models import Dataset, db


def ingest(work: Work) -> None:
    """Makes the data set of the row."""
    dataset = db.session.get_one(Dataset, work.attempt.row_id)
    options = IngestOptions.model_validate(dataset.options)
    db.session.expunge(dataset)
    db.session.remove()

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
    manifest_path = work.scratch / "manifest.jsonl.gz"
    done.manifest.write(manifest_path)
    packs = [work.keep(path) for path in done.pack_paths]
    work.attempt.end(
        "ready",
        sha256=done.manifest.content_sha256(),
        manifest_sha256=work.keep(manifest_path),
        pack_sha256s=packs,
        images=len(done.manifest.rows),
        groups=len({row.group for row in done.manifest.rows if row.group}),
        classes=[{"name": name, **counts} for name, counts in done.manifest.counts().items()],
        positive_class=done.manifest.positive_class,
        report=done.report.model_dump(mode="json"),
        progress=1.0,
        phase="",
    )
