"""The preview of an archive: what was found and what is proposed, before anything is final."""

from ml.config import Frozen
from ml.quality import Refused


class ClassCount(Frozen):
    """Images of one class, by the name that the archive gives it."""

    name: str
    count: int


class Spread(Frozen):
    """Smallest, middle and largest value, in pixels."""

    smallest: int
    median: int
    largest: int


class GroupExample(Frozen):
    """A path and the group that the rule finds in it."""

    path: str
    group: str | None


class Preview(Frozen):
    """What an archive holds, from its names and the headers of its images; no image has been decoded.

    `group_rule` and `label_rule` are sentences. Patterns are the proposals that `IngestOptions` takes where it has
    None. `sample_paths` are up to 500 paths, spread evenly, for trying a pattern.
    """

    images: int
    classes: list[ClassCount]
    given_splits: dict[str, int]
    formats: dict[str, int]
    width_px: Spread | None
    height_px: Spread | None
    label_rule: str
    group_rule: str
    group_pattern: str | None
    group_examples: list[GroupExample]
    groups: int
    exclude_pattern: str | None
    positive_class: str | None
    metadata_columns: list[str]
    left_out: list[Refused]
    left_out_count: int
    sample_paths: list[str]
