"""Revisions: the next version of a data set, made from the one before and a change. Nothing is edited in place."""

from pydantic import Field

from ml.config import Frozen, SplitShares


class Change(Frozen):
    """What a person wants different. Paths and groups are those of the manifest."""

    excluded: list[str] = Field(default_factory=list, max_length=200_000, title="Images taken out")
    removed_groups: list[str] = Field(default_factory=list, max_length=10_000, title="Groups (patients) taken out")
    kept: list[str] = Field(
        default_factory=list, max_length=200_000, title="Images released from quarantine under their own label"
    )
    relabelled: dict[str, str] = Field(
        default_factory=dict, max_length=200_000, title="Images with a new label, which also releases them"
    )
    shares: SplitShares | None = Field(None, title="New split with these shares")
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Seed of the new split")
    repair: bool = Field(False, title="Put what the split divides (groups, copies) together")


class Difference(Frozen):
    """How a version differs from its parent, in images."""

    removed: int
    relabelled: int
    released: int
    moved: int
    groups_removed: list[str]
