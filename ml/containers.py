"""Zip and tar files as streams of entries. Nothing is written to disk; bytes are counted while they are read."""

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ml.budget import DAMAGE, Budget, damage_reported
from ml.errors import BadArchive, BadImage
from ml.ingest_options import ArchiveLimits

_CHUNK_BYTES = 1 << 20
_TAR_HEADER_BYTES = 1 << 20  # tarfile reads the extensions of a header whole
_XZ_MEMORY_BYTES = 256 << 20  # `xz -9` needs 65 MiB; a forged header may ask for 4 GiB
_DIRECTORY_ENTRY_BYTES = 256  # mean length of an entry in a zip's directory, path included


class Span(NamedTuple):
    """Where a file lies in an unpacked tar, in bytes, and why it cannot be used, where it cannot."""

    name: str
    obstacle: str | None
    start: int
    size: int


@dataclass(frozen=True)
class Entry:
    """One file of an archive; `obstacle` says why it cannot be used, where it cannot.

    `read` must be called before the next entry is asked for. It raises BadImage where only this file is damaged. With
    the `span` of a file of a tar it is found again without its header.
    """

    name: str
    obstacle: str | None
    read: Callable[[], bytes]
    span: Span | None = None


def zip_entries(path: Path, budget: Budget) -> Iterator[Entry]:
    """The files of a zip, in the order of its directory."""
    with damage_reported():
        check_directory(path, budget.limits)
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                budget.count_entry()
                if not info.is_dir():
                    yield Entry(info.filename, _zip_obstacle(info), partial(_read_zip, archive, info, budget))


def check_directory(path: Path, limits: ArchiveLimits) -> None:
    """Refuses a zip whose directory would fill the memory: `zipfile` reads it whole. Raises BadArchive."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, io.SEEK_END) - 66_000))  # end record and the longest comment
        tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0:
        raise BadArchive("The archive is cut short: its directory is missing. Pack it again and upload it again.")
    (size,) = struct.unpack_from("<I", tail, end + 12)
    if size == 0xFFFF_FFFF:  # zip64: the real figure stands in a record of 56 bytes, before a locator of 20
        (size,) = struct.unpack_from("<Q", tail, end - 76 + 40)
    if size > limits.max_entries * _DIRECTORY_ENTRY_BYTES:
        raise BadArchive(f"The archive has more than {limits.max_entries} files. Split it up.")


def tar_entries(path: Path, open_stream: Callable[[Path], io.BufferedIOBase], budget: Budget) -> Iterator[Entry]:
    """The files of a tar, in the order in which they lie there."""
    with damage_reported(), open_stream(path) as unpacked:
        stream = _Counted(unpacked, budget)
        with tarfile.open(fileobj=stream, mode="r:") as archive:  # type: ignore[call-overload]
            while (member := archive.next()) is not None:
                archive.members.clear()  # tarfile keeps every header, to resolve links that are not followed here
                budget.count_entry()
                if not member.isdir():
                    yield _entry(
                        Span(member.name, _tar_obstacle(member), member.offset_data, member.size), stream, budget
                    )
        if stream.last.strip(b"\0") or not stream.last:
            raise BadArchive("The archive is cut short: its end mark is missing. Pack it again and upload it again.")


def entries_at(
    path: Path, open_stream: Callable[[Path], io.BufferedIOBase], budget: Budget, spans: Iterable[Span]
) -> Iterator[Entry]:
    """The files of a tar whose places are known, in ascending order."""
    with damage_reported(), open_stream(path) as unpacked:
        stream = _Counted(unpacked, budget)
        for span in spans:
            budget.count_entry()
            yield _entry(span, stream, budget)


def _entry(span: Span, stream: "_Counted", budget: Budget) -> Entry:
    return Entry(span.name, span.obstacle, partial(_read_tar, stream, span, budget), span)


def open_plain(path: Path) -> io.BufferedIOBase:
    """The bytes of an uncompressed file."""
    return path.open("rb")


def open_gzip(path: Path) -> io.BufferedIOBase:
    """The unpacked bytes of a gzip file."""
    return gzip.open(path, "rb")


def open_bzip2(path: Path) -> io.BufferedIOBase:
    """The unpacked bytes of a bzip2 file."""
    return bz2.open(path, "rb")


def open_xz(path: Path) -> io.BufferedIOBase:
    """The unpacked bytes of an xz file, with bounded memory."""
    return io.BufferedReader(_Xz(path), _CHUNK_BYTES)


class _Counted:
    """A stream that can only go forward, counts what passes, and remembers the last block."""

    def __init__(self, stream: io.BufferedIOBase, budget: Budget) -> None:
        self.last = b""
        self._stream = stream
        self._budget = budget
        self._position = 0

    def read(self, size: int) -> bytes:
        if size > _TAR_HEADER_BYTES:
            raise BadArchive("The archive has a header of more than 1 MiB. Pack it again with an ordinary tool.")
        data = self._stream.read(size)
        self._budget.count_bytes(len(data))
        self._position += len(data)
        self.last = data
        return data

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        if position < self._position:
            raise EOFError("the tar points backwards")
        while self._position < position and self.read(min(_CHUNK_BYTES, position - self._position)):
            pass
        return self._position


class _Xz(io.RawIOBase):
    """`lzma.LZMAFile` with a limit on memory; streams that follow each other are joined, as `xz` does."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._decompressor = self._new()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            packed = b""
            if self._decompressor.eof:
                packed = self._decompressor.unused_data.lstrip(b"\0") or self._file.read(_CHUNK_BYTES)
                if not packed:
                    return 0
                self._decompressor = self._new()
            elif self._decompressor.needs_input and not (packed := self._file.read(_CHUNK_BYTES)):
                raise EOFError("the xz stream ends too early")
            data = self._decompressor.decompress(packed, len(buffer))
            if data:
                buffer[: len(data)] = data
                return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)


def _zip_obstacle(info: zipfile.ZipInfo) -> str | None:
    if stat.S_ISLNK(info.external_attr >> 16):
        return "It is a link."
    if info.flag_bits & 0x1:
        return "It is encrypted."
    return None


def _tar_obstacle(member: tarfile.TarInfo) -> str | None:
    if member.issym() or member.islnk():
        return "It is a link."
    if not member.isreg() or member.issparse():
        return "It is not an ordinary file."
    return None


def _read_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: Budget) -> bytes:
    try:
        chunks: list[bytes] = []
        size = 0
        with archive.open(info) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                budget.count_bytes(len(chunk))
                size += len(chunk)
                budget.check_size(info.filename, size)
                chunks.append(chunk)
        return b"".join(chunks)
    except DAMAGE as error:
        raise BadImage(f"The file is damaged inside the archive. {error}") from error


def _read_tar(stream: _Counted, span: Span, budget: Budget) -> bytes:
    """The bytes of an ordinary file, which lie there as they are."""
    budget.check_size(span.name, span.size)
    with damage_reported():
        stream.seek(span.start)
        chunks: list[bytes] = []
        missing = span.size
        while missing and (chunk := stream.read(min(_CHUNK_BYTES, missing))):
            chunks.append(chunk)
            missing -= len(chunk)
        if missing:
            raise EOFError("unexpected end of data")
        return b"".join(chunks)
