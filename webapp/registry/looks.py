"""The ledger of looks: each time that a version was scored on the test images of a data set."""

from dataclasses import dataclass

from sqlalchemy import Select, func, select

from webapp.models import Dataset, Evaluation, User, db
from webapp.studies import members

OF_TEST_IMAGES = ("test", "all")
SHOWN = 50


@dataclass(frozen=True)
class Look:
    """One finished evaluation; `who` is None where nobody is known to have asked for it."""

    evaluation: Evaluation
    who: str | None
    is_automatic: bool  # made at the end of a training

    @property
    def images(self) -> str:
        """Which images were scored; the test images of a fold are its own."""
        fold = members.fold_scored(self.evaluation)
        return f"{self.evaluation.split} of fold {fold[0]} of {fold[1]}" if fold else self.evaluation.split


@dataclass(frozen=True)
class Ledger:
    """How often the test images of one line of data sets were looked at, by how many versions; the newest looks."""

    looks: int
    versions: int
    newest: list[Look]


def ledger_of(dataset: Dataset) -> Ledger:
    """The looks at the test images of all versions of the data set: those of one line are mostly the same images."""
    made = _looks_at(dataset.line).subquery()
    counts = db.session.execute(select(func.count(), func.count(made.c.version_id.distinct())).select_from(made)).one()
    asked = _looks_at(dataset.line).add_columns(User.email).outerjoin(User, Evaluation.created_by_id == User.id)
    newest = db.session.execute(asked.order_by(Evaluation.id.desc()).limit(SHOWN))
    return Ledger(counts[0], counts[1], [Look(row, email, row.attempts == 0) for row, email in newest])


def count(dataset: Dataset) -> int:
    """How often the test images of the data set's line were looked at."""
    return db.session.scalar(select(func.count()).select_from(_looks_at(dataset.line).subquery())) or 0


def _looks_at(line: str) -> Select[Evaluation]:
    return (
        select(Evaluation)
        .join(Dataset, Evaluation.dataset_id == Dataset.id)
        .where(Dataset.line == line, Evaluation.split.in_(OF_TEST_IMAGES), Evaluation.status == "succeeded")
    )
