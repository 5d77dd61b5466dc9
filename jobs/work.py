"""A job around its work: the row claimed, a scratch folder, and however it ends, the truth in the row."""

import contextlib
import logging
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from jobs.attempt import Attempt, HandedOver
from jobs.recovery import release_lost
from ml.errors import Cancelled, MissingWeights, MlError, Superseded
from ml.manifest import Manifest
from ml.pack import PackReader
from webapp import create_app, postgres
from webapp.models import BatchPrediction, Dataset, ModelVersion, db
from webapp.settings import Settings
from webapp.storage import CHUNK_BYTES, DamagedObject, MissingObject, Store, StoreAway
from webapp.storage.copies import copies_of
from webapp.storage.scratch import workspace

log = logging.getLogger(__name__)
DATABASE_RETRIES = 10
DATABASE_PAUSE_S = 3.0
STORE_PATIENCE_S = 300.0  # the heart beats on meanwhile


class Work:
    """What a task needs: the attempt that it reports to, the store, the settings, a scratch folder."""

    def __init__(self, app: Flask, attempt: Attempt, scratch: Path) -> None:
        self.attempt, self.scratch = attempt, scratch
        self.settings: Settings = app.extensions["settings"]
        self.store: Store = app.extensions["store"]
        self.shelf = copies_of(self.settings)  # decoded images, for the jobs of this machine to come
        self.checkpoint_sha256: str | None = None
        self.checkpoint_before_sha256: str | None = None

    def keep(self, path: Path) -> str:
        with path.open("rb") as stream:
            return self.store.keep(stream)

    @contextlib.contextmanager
    def archive_of(self, row: Dataset | BatchPrediction) -> Iterator[Path]:
        """The uploaded archive as one file, put together from its parts where it came in several."""
        first, *others = row.archive_part_sha256s or []
        if not others:
            with self.store.fetch(first) as path:
                yield path
            return
        whole = self.scratch / "archive"
        with whole.open("wb") as file:
            for sha256 in (first, *others):
                self.attempt.report(phase="putting the upload together")
                with self.store.open(sha256) as part:
                    shutil.copyfileobj(part, file, CHUNK_BYTES)
        yield whole

    @contextlib.contextmanager
    def images_of(self, dataset: Dataset) -> Iterator[tuple[Manifest, PackReader]]:
        """The list of images and a reader of their pixels."""
        with contextlib.ExitStack() as stack:
            manifest = Manifest.read(stack.enter_context(self.store.fetch(str(dataset.manifest_sha256))))
            paths = [stack.enter_context(self.store.fetch(sha256)) for sha256 in dataset.pack_sha256s]
            yield manifest, stack.enter_context(PackReader(paths))

    def state_dict_of_version(self, stack: contextlib.ExitStack, version_id: int) -> Path:
        """The weights of an earlier version, for as long as `stack` is open. Raises MissingWeights."""
        version = db.session.get(ModelVersion, version_id)
        if version is None:
            raise MissingWeights(f"There is no version {version_id} to start from. Choose another one.")
        return stack.enter_context(self.store.fetch(version.files["state_dict.safetensors"]))


def run(kind: type[Any], row_id: int, work: Callable[[Work], None], after: Callable[[int], None] | None = None) -> None:
    """Claims the row, does the work, and writes how it ended: the edge where every error becomes a sentence.

    `after` is called once that is written; what it cannot do, the janitor does later.
    """
    app = create_app(store_patience_s=STORE_PATIENCE_S, statement_s=postgres.JOB_STATEMENT_S)
    with app.app_context():
        attempt = Attempt.claim(app, kind, row_id)
        if attempt is None:
            log.info("nothing_to_do", extra={"kind": kind.__tablename__, "row_id": row_id})
            return
        signal.signal(signal.SIGTERM, lambda *_: attempt.hand_over())
        try:
            with attempt.beating(), workspace(app.extensions["settings"].scratch) as scratch:
                work(Work(app, attempt, scratch))
        except HandedOver:
            db.session.rollback()
            attempt.release()
        except Superseded:
            db.session.rollback()
            log.warning("superseded", extra={"kind": kind.__tablename__, "row_id": row_id})
        except Cancelled:
            db.session.rollback()
            _end(attempt, "cancelled")
        except (OperationalError, InterfaceError, StoreAway) as error:
            _lose(attempt, error)
        except Exception as error:
            db.session.rollback()
            _end(attempt, attempt.kind.FAILED, **{attempt.kind.REASON: _reason(error, row_id)})
        if after is not None:
            try:
                after(row_id)
            except SQLAlchemyError:
                db.session.rollback()
                log.warning("nothing_after", exc_info=True, extra={"kind": kind.__tablename__, "row_id": row_id})


def _lose(attempt: Attempt, fault: Exception) -> None:
    """Gives the row back as if the worker had died, once the database answers again; else the janitor does."""
    log.error("part_is_down", exc_info=fault, extra={"kind": attempt.kind.__tablename__, "row_id": attempt.row_id})
    limit = attempt.app.extensions["settings"].max_attempts
    for _ in range(DATABASE_RETRIES):
        with contextlib.suppress(OperationalError, InterfaceError):
            db.session.rollback()
            release_lost(attempt.kind, attempt.row_id, attempt.token, limit)
            return
        time.sleep(DATABASE_PAUSE_S)


def _end(attempt: Attempt, status: str, **values: Any) -> None:
    try:
        attempt.end(status, **values)
    except Superseded:
        log.warning("superseded", extra={"kind": attempt.kind.__tablename__, "row_id": attempt.row_id})


def _reason(error: Exception, row_id: int) -> str:
    """The sentence that the page shows. The whole story of what nobody foresaw is in the log."""
    if isinstance(error, MlError):
        return str(error)
    if isinstance(error, MissingObject | DamagedObject):
        return f"A stored file is missing or damaged. {error}"
    log.exception("task_failed", exc_info=error, extra={"row_id": row_id})
    if isinstance(error, OSError) and error.errno == 28:
        return "The disk is full. Make room in the data folder or on the scratch disk and try again."
    return f"An unexpected error stopped the job: {type(error).__name__}. The worker's log holds the details."
