"""What clients get of versions side by side."""

from typing import Annotated, Any

from typing_extensions import TypedDict

from ml.comparison import Difference, McNemar
from webapp.api.answers import Epoch, Evaluation
from webapp.api.shapes import Dumped


class Setting(TypedDict):
    name: str
    values: list[Any]
    differs: bool


class Pair(TypedDict):
    """Paired tests of two versions on the same `n` images."""

    first: int
    second: int
    n: int
    units: int
    mcnemar: McNemar
    accuracy: Difference
    auc: Difference


class Disagreements(TypedDict):
    count: int
    first: list[dict[str, Any]]


class Comparison(TypedDict):
    """Versions side by side; `problem` says what is in the way of comparing their answers."""

    versions: list[int]
    configuration: list[Setting]
    epochs: list[list[Epoch]]
    problem: str | None
    dataset_id: int | None
    split: str | None
    evaluations: list[Evaluation]
    images: int | None
    trained_on: list[int] | None
    pairs: list[Annotated[dict[str, Any], Dumped(Pair)]]
    disagreements: Disagreements
