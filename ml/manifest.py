"""The manifest: what a data set consists of, image by image. Immutable once written."""

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import field
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ml.config import Frozen, Split
from ml.errors import BadArtifact
from ml.outline import Outline

FORMAT = "manifest/1"

_FINDING = {
    "malignant",
    "cancer",
    "carcinoma",
    "tumor",
    "tumour",
    "positive",
    "abnormal",
    "suspicious",
    "idc",
    "disease",
}
_NO_FINDING = {"benign", "normal", "negative", "healthy", "control", "no", "non", "not", "without"}


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ImageRow:
    """One image: where it came from, what it shows, and where its pixels lie. A data set may have 200,000 of them.

    Images of one `cluster` are copies or near copies of one another. A quarantined image waits for a person's
    decision and belongs to no split meanwhile. A thumbnail lies in the same pack; none (length 0) where the image
    itself is as small.
    """

    path: str
    label: str
    split: Split
    group: str | None = None
    sha256: str
    width: int
    height: int
    pack: int
    member: str
    offset: int
    length: int
    thumbnail_offset: int = 0
    thumbnail_length: int = 0
    cluster: int | None = None
    quarantined: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    issues: list[str] = field(default_factory=list)


_ROW = TypeAdapter(ImageRow)


class Manifest(Frozen):
    """All images of a data set, its classes in alphabetical order, and the class that sensitivity speaks of."""

    format: Literal["manifest/1"] = "manifest/1"
    classes: tuple[str, ...]
    positive_class: str | None = None
    rows: tuple[ImageRow, ...]

    def of_split(self, split: Split) -> tuple[ImageRow, ...]:
        """The images of one split, in the manifest's order, without those in quarantine."""
        return tuple(row for row in self.rows if row.split == split and not row.quarantined)

    def label_index(self, label: str) -> int:
        """The column of `label` in probabilities_NK."""
        return self.classes.index(label)

    def outline(self) -> Outline:
        """What the manifest is judged by."""
        return Outline(
            classes=self.classes,
            positive_class=self.positive_class,
            paths=[row.path for row in self.rows],
            labels=[row.label for row in self.rows],
            splits=[row.split for row in self.rows],
            groups=[row.group for row in self.rows],
            sha256s=[row.sha256 for row in self.rows],
            clusters=[row.cluster for row in self.rows],
            quarantined=[row.quarantined for row in self.rows],
            issues=[row.issues for row in self.rows],
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """Images of each class in each split: `counts()["benign"]["train"]`."""
        return self.outline().counts()

    def content_sha256(self) -> str:
        """The data set's identity, as the outline has it."""
        return self.outline().content_sha256()

    def write(self, path: Path) -> None:
        """Writes the file of this manifest."""
        write(path, self.outline(), self.rows)

    @staticmethod
    def read(path: Path) -> "Manifest":
        """The manifest in the file. Raises BadArtifact where it is damaged, cut short or of another format."""
        try:
            with gzip.open(path, "rb") as lines:
                header = json.loads(next(lines))
                expected = header.pop("images")
                manifest = Manifest(rows=tuple(map(_ROW.validate_json, lines)), **header)
        except (OSError, EOFError, StopIteration, ValueError, TypeError, KeyError, AttributeError, zlib.error) as error:
            raise BadArtifact(f"The manifest '{path.name}' cannot be read: {_cause(error)}.") from error
        if len(manifest.rows) != expected:
            raise BadArtifact(f"The manifest '{path.name}' is cut short: {len(manifest.rows)} of {expected} rows.")
        return manifest


def write(path: Path, outline: Outline, rows: Iterable[ImageRow]) -> None:
    """Writes gzip-compressed JSON lines: a header, then one row a line. Equal manifests give equal bytes."""
    header = {
        "format": FORMAT,
        "classes": outline.classes,
        "positive_class": outline.positive_class,
        "images": len(outline),
    }
    with path.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        packed.write(json.dumps(header).encode() + b"\n")
        for row in rows:
            packed.write(_ROW.dump_json(row) + b"\n")


def propose_positive_class(classes: Sequence[str]) -> str | None:
    """The class that looks like a finding by its name ("malignant", not "non-malignant"); else the second of two.

    None unless there are two classes: sensitivity is then a figure of each class.
    """
    if len(classes) != 2:
        return None
    for wanted in (
        [label for label in classes if _words(label) & _FINDING and not _words(label) & _NO_FINDING],
        [label for label in classes if not _words(label) & _NO_FINDING],
    ):
        if len(wanted) == 1:
            return wanted[0]
    return classes[1]


def _words(label: str) -> set[str]:
    return set(re.findall(r"[a-z]+", label.lower()))


def _cause(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error) or type(error).__name__
