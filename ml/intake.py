"""The intake: each image decoded once, looked at, and put into a pack; each refused file remembered."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from ml.archive import Candidate
from ml.config import Split
from ml.errors import BadImage
from ml.fingerprints import Fingerprints
from ml.ingest_options import ArchiveLimits, IngestOptions
from ml.looking import IMAGES_AT_ONCE, Decode, Looking, Seen, is_small
from ml.pack import PackWriter
from ml.patterns import Pattern
from ml.quality import Refused
from ml.spool import Spool

_AHEAD = 16  # batches on their way: enough for all cores, few enough for the memory
_TICK_S = 0.2


class Packed(NamedTuple):
    """An image that lies in a pack. The archive may have named its split; a patient of DICOM files is a number."""

    path: str
    label: str
    given_split: Split | None
    group: str | None
    patient: int | None
    sha256: str
    issues: list[str]
    width: int
    height: int
    metadata: dict[str, str]
    pack: int
    member: str
    offset: int
    length: int
    thumbnail_offset: int
    thumbnail_length: int


class _Taken(NamedTuple):
    """An image of the archive that is to be looked at."""

    candidate: Candidate
    label: str
    decode: Decode


@dataclass
class Intake:
    """What has come in so far, and what was refused. Images are looked at side by side and packed in their order.

    `tick` is called while a batch is waited for, and may raise to stop.
    """

    packs: PackWriter
    options: IngestOptions
    limits: ArchiveLimits
    tick: Callable[[], None] = lambda: None
    packed: Spool[Packed] = field(default_factory=lambda: Spool(Packed))
    rejected: list[Refused] = field(default_factory=list)
    left_out: list[Refused] = field(default_factory=list)
    classes: set[str] = field(default_factory=set)
    prints: Fingerprints = field(init=False)
    _patients: dict[str, int] = field(default_factory=dict)
    _looking: Looking = field(default_factory=Looking)
    _batch: list[_Taken] = field(default_factory=list)
    _waiting: deque[tuple[list[_Taken], "Future[list[Seen | BadImage]]"]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.prints = Fingerprints(self.packs.folder)
        excluded, grouped = self.options.exclude_pattern, self.options.group_pattern
        self._excluded = Pattern(excluded, "exclude pattern") if excluded else None
        self._grouped = Pattern(grouped, "group pattern") if grouped else None

    def __enter__(self) -> Self:
        self.prints.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._looking.end()
        self.prints.__exit__(*error)

    @property
    def done(self) -> int:
        """Files seen, whatever became of them."""
        return len(self.packed) + len(self.rejected) + len(self.left_out)

    def leave_out(self, path: str, reason: str) -> None:
        """Remembers a file that is no image of the data set."""
        self.left_out.append(Refused(path=path, reason=reason))

    def take(self, candidate: Candidate) -> None:
        """Packs the image, now or soon, or remembers why not."""
        if self._excluded and self._excluded.search(candidate.path.partition("#")[0]):
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
        self._batch.append(_Taken(candidate, label, decode))
        if len(self._batch) == IMAGES_AT_ONCE or not is_small(decode):
            self._start()
        if len(self._waiting) > _AHEAD:
            self._pack_next()

    def finish(self) -> None:
        """Packs what is still on its way; nothing can be taken after it."""
        self._start()
        while self._waiting:
            self._pack_next()
        self._looking.end()

    def _start(self) -> None:
        """The look at the batch begins."""
        if self._batch:
            self._waiting.append((self._batch, self._looking.start([taken.decode for taken in self._batch])))
            self._batch = []

    def _pack_next(self) -> None:
        """Packs the earliest batch of those on their way."""
        batch, future = self._waiting.popleft()
        while wait([future], timeout=_TICK_S).not_done:
            self.tick()
        for taken, seen in zip(batch, future.result(), strict=True):
            if isinstance(seen, BadImage):
                self.rejected.append(Refused(path=taken.candidate.path, reason=str(seen)))
            else:
                self._pack(taken.candidate, taken.label, seen)
        self.tick()

    def _pack(self, candidate: Candidate, label: str, seen: Seen) -> None:
        group = (self._grouped and self._grouped.group(candidate.path)) or candidate.group
        no_group = ["no_group"] if self._grouped and group is None else []
        self.prints.add(seen.fingerprint)
        self.packed.add(
            Packed(
                candidate.path,
                label,
                candidate.split,
                group,
                self._number_of(candidate.patient),
                seen.sha256,
                seen.issues + no_group,
                seen.width,
                seen.height,
                candidate.metadata,
                *self.packs.add(seen.encoded),
            )
        )

    def _number_of(self, patient: str | None) -> int | None:
        """Stands for the patient, whose identity is written nowhere."""
        return self._patients.setdefault(patient, len(self._patients)) if patient else None
