"""The store of a cluster: a bucket of any S3-compatible server, and copies on the local disk of what is read."""

import contextlib
import hashlib
import io
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from webapp.settings import Settings
from webapp.storage.contract import CHUNK_BYTES, SHA256, StoreAway, judge, key_of, missing
from webapp.storage.copies import copies_of

PART_BYTES = 16 << 20  # S3 takes at most 10,000 parts: 156 GiB
PARTS_AT_ONCE = 4
WHOLE_BYTES = 16 << 20  # what is not larger is fetched whole, also where a part of it would do
RANGE_BYTES = 1 << 17
CHECK_PATIENCE_S = 2.0
MAX_RETRIES = 1000  # patience ends retries, not their number


class BucketStore:
    """A store in a bucket. What comes from it is verified; what is sent to it carries a checksum that it verifies."""

    def __init__(self, settings: Settings, patience_s: float) -> None:
        self._bucket = _connect(settings, patience_s, read_timeout_s=30)
        self._impatient = _connect(settings, 0, read_timeout_s=CHECK_PATIENCE_S)
        self._scratch = settings.scratch
        self._copies = copies_of(settings)

    def keep(self, stream: BinaryIO) -> str:
        """Through a file without a name, since only the last byte completes the address."""
        digest = hashlib.sha256()
        self._scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._scratch) as draft:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
                draft.write(chunk)
            draft.seek(0)
            with _asking(digest.hexdigest()) as key:
                obstore.put(self._bucket, key, draft, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
        return digest.hexdigest()

    def open(self, sha256: str) -> BinaryIO:
        """A large object is read by ranges, unless a copy is here already; ranges cannot be verified."""
        if not self._copies.has(sha256):
            with _asking(sha256) as key:
                size = obstore.head(self._bucket, key)["size"]
            if size > WHOLE_BYTES:
                return cast(BinaryIO, io.BufferedReader(_Ranges(self._bucket, sha256, size), RANGE_BYTES))
        with self.fetch(sha256) as path:
            return path.open("rb")

    @contextlib.contextmanager
    def fetch(self, sha256: str) -> Iterator[Path]:
        """A copy that is found damaged within the `with` block is forgotten: whoever asks next has it brought anew."""
        key_of(sha256)
        with self._copies.of(sha256, self._bring) as path:
            yield path

    def _bring(self, sha256: str, file: IO[bytes]) -> None:
        digest = hashlib.sha256()
        with _asking(sha256) as key:
            chunks = obstore.get(self._bucket, key).stream(CHUNK_BYTES)
        while chunk := self._next(chunks, sha256):
            digest.update(chunk)
            file.write(chunk)
        judge(digest.hexdigest(), sha256)

    @staticmethod
    def _next(chunks: Iterator[bytes], sha256: str) -> bytes:
        """The next chunk, none at the end: an error of the store is told from one of the local disk."""
        with _asking(sha256):
            return next(chunks, b"")

    def delete(self, sha256: str) -> None:
        with contextlib.suppress(FileNotFoundError), _asking(sha256, FileNotFoundError()) as key:
            obstore.delete(self._bucket, key)
        self._copies.forget(sha256)

    def addresses(self) -> Iterator[tuple[str, float]]:
        now = datetime.now(UTC)
        with _away():
            for found in obstore.list(self._bucket):
                for one in found:
                    sha256 = one["path"].rpartition("/")[2]
                    if SHA256.fullmatch(sha256):
                        yield sha256, (now - one["last_modified"]).total_seconds()

    def check(self) -> None:
        with _away():
            obstore.put(self._impatient, "check", b"written by every check")

    def remove_drafts(self, older_than_s: float) -> None:
        """Nothing: local drafts have no name, and parts of broken uploads end by a rule of the bucket's life cycle."""


class _Ranges(io.RawIOBase):
    """A large object, each read of which is one request."""

    def __init__(self, bucket: S3Store, sha256: str, size: int) -> None:
        self._bucket, self._sha256, self._size, self._position = bucket, sha256, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        length = min(len(buffer), self._size - self._position)
        if length <= 0:
            return 0
        with _asking(self._sha256) as key:
            data = obstore.get_range(self._bucket, key, start=self._position, length=length)
        buffer[: len(data)] = memoryview(data)
        self._position += len(data)
        return len(data)


@contextlib.contextmanager
def _asking(sha256: str, absent: Exception | None = None) -> Iterator[str]:
    """The object's name, for a request to the store; what the store says becomes an error of ours."""
    key = key_of(sha256)
    with _away():
        try:
            yield key
        except FileNotFoundError:
            raise absent or missing(sha256) from None


@contextlib.contextmanager
def _away() -> Iterator[None]:
    try:
        yield
    except BaseError as error:
        raise StoreAway(f"The object store does not do what it was asked: {error}") from error


def _connect(settings: Settings, patience_s: float, read_timeout_s: float) -> S3Store:
    """A client of the bucket. Without keys it takes those of the machine, or of the pod's role."""
    parts = urlsplit(settings.storage)
    given: dict[str, Any] = {
        "access_key_id": settings.s3_access_key_id,
        "secret_access_key": settings.s3_secret_access_key.get_secret_value(),
        "endpoint": settings.s3_endpoint_url,
        "prefix": unquote(parts.path).strip("/"),
    }
    return S3Store(
        parts.netloc,
        region=settings.s3_region,
        checksum_algorithm="SHA256",
        client_options={
            "allow_http": settings.s3_endpoint_url.startswith("http://"),
            "connect_timeout": timedelta(seconds=CHECK_PATIENCE_S),
            "read_timeout": timedelta(seconds=read_timeout_s),
            "timeout": timedelta(hours=4) if patience_s else timedelta(seconds=read_timeout_s),
        },
        retry_config={
            "max_retries": MAX_RETRIES if patience_s else 0,
            "retry_timeout": timedelta(seconds=patience_s),
            "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5), "base": 2},
        },
        **{name: value for name, value in given.items() if value},
    )
