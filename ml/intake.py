"""The intake: each image decoded once, looked at, and put into a pack; each refused file remembered."""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ml import images, pack, patterns, quality, similarity
from ml.archive import Candidate
from ml.config import ArchiveLimits, IngestOptions, Split
from ml.errors import BadImage
from ml.pack import Encoded, PackWriter, Place
from ml.quality import Refused
from ml.similarity import Fingerprint

_AHEAD = 16  # images on their way: enough for all threads, few enough for the memory
_SMALL_PX = 128 * 128
_MOST_THREADS = 4  # each may hold an image of 100 megapixels


@dataclass(frozen=True)
class Packed:
    """An image that lies in a pack; the archive may have named its split."""

    path: str
    label: str
    given_split: Split | None
    group: str | None
    patient: str | None
    metadata: dict[str, str]
    sha256: str
    width: int
    height: int
    place: Place
    fingerprint: Fingerprint
    issues: list[str]


class _Seen(NamedTuple):
    """What the pixels of one image tell."""

    encoded: Encoded
    sha256: str
    width: int
    height: int
    fingerprint: Fingerprint
    issues: list[str]


@dataclass
class Intake:
    """What has come in so far, and what was refused. Images are decoded side by side and packed in their order."""

    packs: PackWriter
    options: IngestOptions
    limits: ArchiveLimits
    packed: list[Packed] = field(default_factory=list)
    rejected: list[Refused] = field(default_factory=list)
    left_out: list[Refused] = field(default_factory=list)
    classes: set[str] = field(default_factory=set)
    _is_small: bool = False
    _waiting: deque[tuple[Candidate, str, "Future[_Seen]"]] = field(default_factory=deque)

    def __enter__(self) -> Self:
        self._threads = ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS))
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    @property
    def done(self) -> int:
        """Files seen, whatever became of them."""
        return len(self.packed) + len(self.rejected) + len(self.left_out)

    def leave_out(self, path: str, reason: str) -> None:
        """Remembers a file that is no image of the data set."""
        self.left_out.append(Refused(path=path, reason=reason))

    def take(self, candidate: Candidate) -> None:
        """Packs the image, now or soon, or remembers why not."""
        pattern = self.options.exclude_pattern
        if pattern and patterns.search(pattern, candidate.path.partition("#")[0], "exclude pattern"):
            self.leave_out(candidate.path, "It matches the exclude pattern.")
            return
        self.classes.add(candidate.label)
        label = self.options.classes.get(candidate.label, candidate.label)
        if not label:
            self.leave_out(candidate.path, "Its class is left out.")
            return
        try:
            decode = candidate.fetch()
        except BadImage as error:
            self.rejected.append(Refused(path=candidate.path, reason=str(error)))
            return
        self._waiting.append((candidate, label, self._start(decode)))
        if len(self._waiting) > _AHEAD:
            self.pack_next()

    def _start(self, decode: Callable[[], NDArray[np.uint8]]) -> "Future[_Seen]":
        """The look at one image, begun in a thread; done at once where the image before was so small that a thread
        would cost more than it saves.
        """
        if not self._is_small:
            return self._threads.submit(_look, decode)
        future: Future[_Seen] = Future()
        try:
            future.set_result(_look(decode))
        except BadImage as error:
            future.set_exception(error)
        return future

    def pack_next(self) -> bool:
        """Packs the next image of those on their way; False where none is left."""
        if not self._waiting:
            return False
        candidate, label, future = self._waiting.popleft()
        try:
            self._pack(candidate, label, future.result())
        except BadImage as error:
            self.rejected.append(Refused(path=candidate.path, reason=str(error)))
        return True

    def _pack(self, candidate: Candidate, label: str, seen: _Seen) -> None:
        self._is_small = seen.width * seen.height < _SMALL_PX
        group = _group(candidate, self.options.group_pattern)
        no_group = ["no_group"] if self.options.group_pattern and group is None else []
        self.packed.append(
            Packed(
                candidate.path,
                label,
                candidate.split,
                group,
                candidate.patient,
                candidate.metadata,
                seen.sha256,
                seen.width,
                seen.height,
                self.packs.add(seen.encoded),
                seen.fingerprint,
                seen.issues + no_group,
            )
        )


def _look(decode: Callable[[], NDArray[np.uint8]]) -> _Seen:
    """Everything that is to be known of one image, and its bytes for the pack. Raises BadImage."""
    image_HWC = decode()
    height, width = image_HWC.shape[:2]
    fingerprint = similarity.fingerprint(image_HWC)
    issues = quality.of_image(image_HWC, fingerprint)
    return _Seen(pack.encode(image_HWC), images.pixel_sha256(image_HWC), width, height, fingerprint, issues)


def _group(candidate: Candidate, pattern: str | None) -> str | None:
    """The patient, by the pattern's first group (the whole match where it has none), or as the source says."""
    match = patterns.search(pattern, candidate.path, "group pattern") if pattern else None
    if match is None:
        return candidate.group
    return (match.group(1) if match.re.groups else match.group()) or None
