"""What happens to a row whose worker is gone: another worker gets it, until too many were lost in a row."""

import logging
from typing import Any

from sqlalchemy import update

from jobs.attempt import AttemptedRow
from webapp import queue
from webapp.models import BatchPrediction, Dataset, Evaluation, Experiment, RateSearch, db, now

log = logging.getLogger(__name__)
KINDS: dict[type[Any], queue.Task] = {
    Dataset: queue.INGEST,
    Evaluation: queue.EVALUATE,
    RateSearch: queue.FIND_RATE,
    BatchPrediction: queue.SCORE,
    Experiment: queue.TRAIN,
}


def release_lost(kind: type[AttemptedRow], row_id: int, token: str, max_attempts: int, *conditions: Any) -> None:
    """Takes the row from the attempt `token`, whose process is dead, and says truly what becomes of it.

    Each of the three statements changes the row only while the dead attempt still owns it. Twice is harmless.
    """
    mine = update(kind).where(kind.id == row_id, kind.attempt_token == token, *conditions)
    reason = f"The worker was lost {max_attempts} times in a row, most likely for want of memory; last in this phase."
    outcomes = (
        mine.where(kind.status == "cancelling").values(status="cancelled", finished_at=now(), attempt_token=None),
        mine.where(kind.status == kind.WORKING, kind.losses + 1 >= max_attempts).values(
            status=kind.FAILED, finished_at=now(), attempt_token=None, losses=kind.losses + 1, **{kind.REASON: reason}
        ),
        mine.where(kind.status == kind.WORKING).values(
            status=kind.WAITING,
            attempt_token=None,
            losses=kind.losses + 1,
            rung_at=None,
            phase="waiting for a worker",
            **kind.between_attempts(),
        ),
    )
    for statement in outcomes:
        result: Any = db.session.execute(statement.execution_options(synchronize_session=False))
        if result.rowcount:
            log.warning("attempt_lost", extra={"kind": kind.__tablename__, "row_id": row_id, "attempt": token})
            break
    db.session.commit()
