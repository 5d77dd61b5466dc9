"""The outline of a data set: what is known of every image, in columns, in a fraction of the memory of its rows."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from ml.config import SPLITS, Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """The columns of a manifest from which it is judged; each has an element for each image."""

    classes: tuple[str, ...]
    positive_class: str | None
    paths: Sequence[str]
    labels: Sequence[str]
    splits: Sequence[Split]
    groups: Sequence[str | None]
    sha256s: Sequence[str]
    clusters: Sequence[int | None]
    quarantined: Sequence[bool]
    issues: Sequence[Sequence[str]]

    def __len__(self) -> int:
        return len(self.paths)

    def counts(self) -> dict[str, dict[str, int]]:
        """Images of each class in each split, without those in quarantine: `counts()["benign"]["train"]`."""
        result = {label: dict.fromkeys(SPLITS, 0) for label in self.classes}
        for label, split, is_waiting in zip(self.labels, self.splits, self.quarantined, strict=True):
            result[label][split] += not is_waiting
        return {label: dict(splits) for label, splits in result.items()}

    def content_sha256(self) -> str:
        """The data set's identity: path, label, split, group, pixels, quarantine of every image, in any order."""
        digest = hashlib.sha256()
        columns = (self.paths, self.labels, self.splits, self.groups, self.sha256s, self.quarantined)
        for number in sorted(range(len(self)), key=self.paths.__getitem__):
            digest.update(json.dumps([column[number] for column in columns]).encode() + b"\n")
        return digest.hexdigest()
