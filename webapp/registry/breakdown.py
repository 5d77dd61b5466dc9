"""The breakdown of an evaluation in its report: scores of subgroups, and labels that a person should look at."""

from collections.abc import Sequence
from dataclasses import dataclass

from ml import label_errors, subgroups
from ml.subgroups import Subgroup
from webapp.errors import Conflict
from webapp.models import Evaluation
from webapp.registry import answers
from webapp.registry.answers import Answered
from webapp.storage import DamagedObject, MissingObject

COLUMNS = {"split": "split", "group_size": "images of the same group"}
MOST_TABLES = 6
MOST_SUGGESTIONS = 10


@dataclass(frozen=True)
class SubgroupTable:
    """The scores of the images of each value of a column; `is_given` where the column came with the data."""

    column: str
    title: str
    is_given: bool
    values: list[Subgroup]


@dataclass(frozen=True)
class Suggestion:
    """An image, by its number in the data set, that may be labelled wrongly; the two probabilities."""

    number: int
    given: str
    given_probability: float
    suggested: str
    suggested_probability: float


@dataclass(frozen=True)
class Breakdown:
    """`left_out` are columns without a table; of the `doubtful` images the first ones are `suggestions`."""

    subgroups: list[SubgroupTable]
    left_out: list[str]
    doubtful: int
    suggestions: list[Suggestion]

    @property
    def given(self) -> list[str]:
        """The titles of the columns that came with the data and have a table."""
        return [table.title for table in self.subgroups if table.is_given]


def of(evaluation: Evaluation | None) -> Breakdown | None:
    """What the answers for single images tell; None where these are not in the store."""
    if evaluation is None:
        return None
    try:
        answered = answers.of(evaluation)
    except (Conflict, MissingObject, DamagedObject):
        return None
    columns = subgroups.columns(answered.rows)
    names = sorted(columns, key=lambda name: not name.startswith(subgroups.METADATA))  # what came with the data first
    doubts = label_errors.suspects(answered.truth_N, answered.probabilities_NK)
    return Breakdown(
        subgroups=[_table(name, columns[name], answered) for name in names[:MOST_TABLES]],
        left_out=[title_of(name) for name in names[MOST_TABLES:]],
        doubtful=len(doubts),
        suggestions=[_suggestion(doubt, answered) for doubt in doubts[:MOST_SUGGESTIONS]],
    )


def title_of(column: str) -> str:
    return COLUMNS.get(column) or column.removeprefix(subgroups.METADATA)


def _table(column: str, values: Sequence[str], answered: Answered) -> SubgroupTable:
    scores = subgroups.scores(
        values,
        answered.truth_N,
        answered.decided_N,
        answered.probabilities_NK,
        answered.positive,
        [row.group for row in answered.rows],
    )
    return SubgroupTable(column, title_of(column), column.startswith(subgroups.METADATA), scores)


def _suggestion(doubt: label_errors.Doubt, answered: Answered) -> Suggestion:
    probability_K = answered.probabilities_NK[doubt.index]
    return Suggestion(
        number=int(answered.number_N[doubt.index]),
        given=answered.classes[doubt.given],
        given_probability=float(probability_K[doubt.given]),
        suggested=answered.classes[doubt.suggested],
        suggested_probability=float(probability_K[doubt.suggested]),
    )
