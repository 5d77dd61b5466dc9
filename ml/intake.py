"""The intake: each image decoded once, looked at, and put into a pack; each refused file remembered."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ml import images, patterns, quality
from ml.archive import Candidate
from ml.config import ArchiveLimits, IngestOptions, Split
from ml.errors import BadImage
from ml.pack import PackWriter, Place
from ml.quality import Refused


@dataclass(frozen=True)
class Packed:
    """An image that lies in a pack; the archive may have named its split."""

    path: str
    label: str
    given_split: Split | None
    group: str | None
    metadata: dict[str, str]
    sha256: str
    width: int
    height: int
    place: Place
    issues: list[str]


@dataclass
class Intake:
    """What has come in so far, and what was refused."""

    packs: PackWriter
    options: IngestOptions
    limits: ArchiveLimits
    packed: list[Packed] = field(default_factory=list)
    rejected: list[Refused] = field(default_factory=list)
    left_out: list[Refused] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Files seen, whatever became of them."""
        return len(self.packed) + len(self.rejected) + len(self.left_out)

    def leave_out(self, path: str, reason: str) -> None:
        """Remembers a file that is no image of the data set."""
        self.left_out.append(Refused(path=path, reason=reason))

    def take(self, candidate: Candidate) -> None:
        """Packs the image, or remembers why not."""
        pattern = self.options.exclude_pattern
        if pattern and patterns.search(pattern, candidate.path, "exclude pattern"):
            self.leave_out(candidate.path, "It matches the exclude pattern.")
            return
        try:
            image_HWC = candidate.load()
        except BadImage as error:
            self.rejected.append(Refused(path=candidate.path, reason=str(error)))
            return
        self._pack(candidate, image_HWC)

    def _pack(self, candidate: Candidate, image_HWC: NDArray[np.uint8]) -> None:
        place = self.packs.add(image_HWC)
        group = _group(candidate, self.options.group_pattern)
        issues = quality.of_image(image_HWC)
        if self.options.group_pattern and group is None:
            issues.append("no_group")
        self.packed.append(
            Packed(
                candidate.path,
                candidate.label,
                candidate.split,
                group,
                candidate.metadata,
                images.pixel_sha256(image_HWC),
                image_HWC.shape[1],
                image_HWC.shape[0],
                place,
                issues,
            )
        )


def _group(candidate: Candidate, pattern: str | None) -> str | None:
    """The patient, by the pattern's first group (the whole match where it has none), or as the source says."""
    match = patterns.search(pattern, candidate.path, "group pattern") if pattern else None
    if match is None:
        return candidate.group
    return (match.group(1) if match.re.groups else match.group()) or None
