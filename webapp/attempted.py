"""What all rows have in common that a worker works on."""

import datetime
from typing import Any, ClassVar

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column


class Attempted:
    """Columns of a row that a worker works on: who owns it now, and since when it was last heard of.

    It waits in status `WAITING` without a token; a worker claims it by setting its token and `WORKING`.
    """

    WAITING: ClassVar[str] = "queued"
    WORKING: ClassVar[str] = "running"
    FAILED: ClassVar[str] = "failed"
    REASON: ClassVar[str] = "failed_because"
    OF_ATTEMPT: ClassVar[tuple[str, ...]] = ()  # columns that tell of the attempt at work, and of no other

    attempt_token: Mapped[str | None] = mapped_column(String(64))
    attempts: Mapped[int] = mapped_column(default=0)
    losses: Mapped[int] = mapped_column(default=0)  # in a row
    heartbeat_at: Mapped[datetime.datetime | None]
    rung_at: Mapped[datetime.datetime | None]
    progress: Mapped[float] = mapped_column(default=0.0)
    phase: Mapped[str] = mapped_column(String(40), default="")
    started_at: Mapped[datetime.datetime | None]
    finished_at: Mapped[datetime.datetime | None]

    @classmethod
    def kept(cls) -> Any:
        """The share of the work that the next attempt finds done; a value for an UPDATE."""
        return 0.0

    @classmethod
    def between_attempts(cls) -> dict[str, Any]:
        """What the row says while nobody works on it: nothing of the attempt before, and what that one kept."""
        return {"progress": cls.kept(), **dict.fromkeys(cls.OF_ATTEMPT)}
