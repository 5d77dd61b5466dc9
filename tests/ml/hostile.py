"""Archives and images that somebody made to break things. Each case: its bytes, and how its ingest must end.

The end is `ready`, with a word that the report must hold for the hostile file, or `rejected`, with a pattern of the
sentence.
"""

import bz2
import gzip
import io
import lzma
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tests.ml.factories import encoded, files, noise, zip_bytes

GOOD = files("a", "b")


@dataclass(frozen=True)
class Case:
    end: str
    says: str
    make: Callable[[], bytes]


def beside(says: str, name: str, data: bytes = b"x") -> Case:
    """Good images, and one hostile file in a zip."""
    return Case("ready", says, lambda: zip_bytes(GOOD | {name: data}))


def image(says: str, make: Callable[[], bytes]) -> Case:
    return Case("ready", says, lambda: zip_bytes(GOOD | {"a/hostile.png": make()}))


def in_tar(says: str, end: str = "ready", size: int | None = None, data: bytes = b"", **header: object) -> Case:
    """Good images in a tar, and one hostile entry."""

    def make() -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, content in GOOD.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            entry = tarfile.TarInfo("a/hostile.png")
            entry.size = len(data)
            for key, value in header.items():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(data) if data else None)
        return buffer.getvalue()

    return Case(end, says, make)


def patched_zip(patch: Callable[[bytearray], None]) -> bytes:
    data = bytearray(zip_bytes(GOOD))
    patch(data)
    return bytes(data)


def encrypted() -> bytes:
    def patch(data: bytearray) -> None:
        for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            data[data.index(magic) + offset] |= 1

    return patched_zip(patch)


def wrong_crc() -> bytes:
    def patch(data: bytearray) -> None:
        for magic, offset in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
            data[data.index(magic) + offset] ^= 0xFF

    return patched_zip(patch)


def other_local_name() -> bytes:
    def patch(data: bytearray) -> None:
        data[data.index(b"PK\x03\x04") + 30] ^= 1

    return patched_zip(patch)


def overlapping() -> bytes:
    """Every entry of the directory points to the same bytes."""

    def patch(data: bytearray) -> None:
        place = data.find(b"PK\x01\x02")
        while place >= 0:
            data[place + 42 : place + 46] = bytes(4)
            place = data.find(b"PK\x01\x02", place + 4)

    return patched_zip(patch)


def zip64() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in GOOD.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as file:
                file.write(data)
    return buffer.getvalue()


def twice_the_name() -> bytes:
    buffer = io.BytesIO(zip_bytes(GOOD))
    with zipfile.ZipFile(buffer, "a") as archive:
        info = zipfile.ZipInfo("a/0.png ".strip())
        archive.filelist.append(archive.filelist[0])
        archive.NameToInfo.pop(info.filename, None)
        archive.writestr(info, encoded(noise(77)))
    return buffer.getvalue()


def nested(depth: int = 6) -> bytes:
    data = bytes(100_000)
    for _ in range(depth):
        data = zip_bytes({f"{n}.zip": data for n in range(4)})
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inner.zip", data)
        data = buffer.getvalue()
    return zip_bytes(GOOD | {"a/42.zip": data, "a/42.png": data})


def bomb(megabytes: int = 250) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a/bomb.png", "w") as file:
        for _ in range(megabytes):
            file.write(bytes(2**20))
    return buffer.getvalue()


def many(count: int = 100_000) -> bytes:
    """So many files that are no images, in a directory of some 10 MB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in GOOD.items():
            archive.writestr(name, data)
        for number in range(count):
            archive.writestr(zipfile.ZipInfo(f"n/{number}.txt"), b"")
    return buffer.getvalue()


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    rows = zlib.compress(bytes((width + 1) * height) if width * height < 10**6 else bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(chunk(*one) for one in chunks)
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )


def animation(format: str) -> bytes:
    frames = [Image.fromarray(noise(seed, 24, 24)) for seed in (90, 91, 92)]
    buffer = io.BytesIO()
    frames[0].save(buffer, format, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def looping_tiff() -> bytes:
    """A directory that names itself as the next one."""
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<HHHII", 1, 256, 4, 1, 9) + struct.pack("<I", 8)


def objects() -> bytes:
    """An array of Python objects, which only pickle could read."""
    buffer, arrays = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array(arrays, np.array([print, None], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("train_images.npy", arrays.getvalue())
        archive.writestr("train_labels.npy", arrays.getvalue())
    return buffer.getvalue()


def pax_bomb() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("a/x.png")
        entry.pax_headers = {"comment": "x" * 3_000_000}
        archive.addfile(entry)
    return buffer.getvalue()


def long_name() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("a/" + "x" * 10_000_000 + ".png"))
    return buffer.getvalue()


def negative_size() -> bytes:
    data = bytearray(in_tar("").make())
    place = data.rindex(b"a/hostile.png")
    data[place + 124 : place + 136] = b"\xff" * 12
    header = bytes(data[place : place + 148]) + b" " * 8 + bytes(data[place + 156 : place + 512])
    data[place + 148 : place + 156] = b"%06o\0 " % sum(header)
    return bytes(data)


def huge_xz() -> bytes:
    """A header that asks for a dictionary of 1.5 GiB."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**20}]
    data = bytearray(lzma.compress(bytes(1000), lzma.FORMAT_XZ, filters=filters).replace(b"!\x01\x10", b"!\x01\x25", 1))
    end = 12 + 4 * (data[12] + 1)  # of the block's header, whose checksum must be right to get as far as the dictionary
    data[end - 4 : end] = struct.pack("<I", zlib.crc32(data[12 : end - 4]))
    return bytes(data)


GIF_AND_ZIP = animation("GIF")
CASES: dict[str, Case] = {
    "traversal": beside("leads out", "../../evil.png", encoded(noise(80))),
    "traversal in the middle": beside("leads out", "a/../../evil.png", encoded(noise(80))),
    "absolute path": beside("leads out", "/etc/evil.png", encoded(noise(80))),
    "windows drive": beside("leads out", "C:\\evil\\x.png", encoded(noise(80))),
    "UNC path": beside("leads out", "\\\\server\\share\\x.png", encoded(noise(80))),
    "tar traversal": in_tar("leads out", name="../../evil.png", data=encoded(noise(80))),
    "symbolic link": in_tar("a link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard link": in_tar("a link", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "character device": in_tar("not an ordinary file", type=tarfile.CHRTYPE),
    "named pipe": in_tar("not an ordinary file", type=tarfile.FIFOTYPE),
    "sparse file": in_tar("not an ordinary file|damaged|cut short", end="any", type=tarfile.GNUTYPE_SPARSE),
    "two files of one name": Case("any", "", twice_the_name),
    "names that differ in case": beside("", "A/0.PNG".replace("A", "a"), encoded(noise(81))),
    "composed and decomposed names": beside("", "a/e\u0301.png", encoded(noise(82))),
    "right-to-left override": beside("", "a/\u202egnp.exe.png", encoded(noise(83))),
    "a name of control characters": beside("", "a/\x1b[31m\x00x.png", encoded(noise(84))),
    "a name of 255 bytes": beside("", "a/" + "n" * 251 + ".png", encoded(noise(85))),
    "a path of 2,000 characters": beside(
        "longer than", "/".join(["a", *["d" * 100] * 20, "x.png"]), encoded(noise(86))
    ),
    "a zip in a zip in a zip": Case("ready", "not an image", nested),
    "a bomb by its ratio": Case("rejected", r"times|unpacked|ratio", bomb),
    "encrypted": Case("ready", "encrypted", encrypted),
    "a wrong checksum": Case("ready", "damaged inside the archive", wrong_crc),
    "another name in the local header": Case("ready", "damaged inside the archive", other_local_name),
    "overlapping entries": Case("any", "", overlapping),
    "zip64": Case("ready", "", zip64),
    "cut in the directory": Case("rejected", "cut short|damaged", lambda: zip_bytes(GOOD)[:-30]),
    "cut in the files": Case("rejected", "cut short|damaged", lambda: zip_bytes(GOOD)[:2000]),
    "a cut tar": Case("rejected", "cut short|damaged", lambda: in_tar("").make()[:5000]),
    "a cut gzip": Case("rejected", "cut short|damaged", lambda: gzip.compress(in_tar("").make())[:-500]),
    "a cut bzip2": Case("rejected", "cut short|damaged", lambda: bz2.compress(in_tar("").make())[:-500]),
    "a cut xz": Case("rejected", "cut short|damaged", lambda: lzma.compress(in_tar("").make())[:-500]),
    "two gzip streams": Case("any", "", lambda: gzip.compress(in_tar("").make()) * 2),
    "an xz with a huge dictionary": Case("rejected", "Memory usage limit", huge_xz),
    "a negative size": Case("any", "", negative_size),
    "a header of 3 MB": Case("rejected", "header of more than", pax_bomb),
    "a name of 10 MB": Case("rejected", "header of more than", long_name),
    "100,000 files": Case("ready", "not an image", many),
    "more pixels than memory": image("too many pixels", lambda: png(60_000, 60_000)),
    "a compressed text of 100 MB": image("", lambda: png(8, 8, (b"zTXt", b"x\0\0" + zlib.compress(bytes(10**8))))),
    "no pixels": image("damaged|not an image|truncated", lambda: png(0, 0)),
    "an animated GIF": image("", lambda: animation("GIF")),
    "an animated WebP": image("", lambda: animation("WEBP")),
    "a GIF that is also a zip": Case("any", "", lambda: GIF_AND_ZIP + zip_bytes(GOOD)),
    "a page named as an image": image("not an image", lambda: b"<html><script>alert(1)</script></html>"),
    "an SVG named as an image": image("not an image", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    "a TIFF whose directories loop": image("damaged|not an image", looping_tiff),
    "an empty file": image("empty", lambda: b""),
    "an array of objects": Case("rejected", "objects", objects),
    "a pickle named as an array": Case("rejected", "", lambda: zip_bytes({"train_images.npy": pickle.dumps([1])})),
    "formulas in a label table": Case(
        "ready",
        "",
        lambda: zip_bytes(
            GOOD
            | {
                "labels.csv": b"path,label\n"
                + b"".join(b"%s,=cmd|'/c calc'!A%d\n" % (name.encode(), "ab".index(name[0])) for name in GOOD)
            }
        ),
    ),
    "a label table of one column": Case("rejected", "no column", lambda: zip_bytes(GOOD | {"labels.csv": b"x\n1\n"})),
    "no archive at all": Case("rejected", "no known|not an archive", lambda: b"\x7fELF" + bytes(2000)),
}
