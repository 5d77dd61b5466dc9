"""Ingest of an archive of 60,000 small images beside a plain loop over the same archive.

The plain loop extracts the archive and decodes every file with Pillow, on all cores, and keeps nothing. The ingest also
hashes, compares every image with every other, splits, packs losslessly and writes the manifest. Each side runs in a
process of its own; memory is the peak of that process and those that it starts, their shared pages counted once, taken
every tenth of a second. The ingest runs a second time on the first 10,000 files, to show
that its memory does not grow with the archive. With `APP_TEST_DATA` the archive is its `cifar10-jpeg.tar.xz`, without
it one that is drawn here.
"""

import contextlib
import io
import json
import multiprocessing
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

DRAWN_PER_CLASS = 6_000
CLASSES = 10
FEW = 10_000
SAMPLED_S = 0.1


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = _archive(Path(folder))
        few = _first(archive, Path(folder) / "few.tar.xz")
        sides = {
            "plain loop": _measure("plain", archive),
            "platform": _measure("platform", archive),
            "platform, 10,000": _measure("platform", few),
        }
    print(f"{'side':<18}{'images':>8}{'seconds':>10}{'images/s':>10}{'peak MiB':>10}")
    for side, measured in sides.items():
        rate = measured["images"] / measured["seconds"]
        print(
            f"{side:<18}{measured['images']:>8.0f}{measured['seconds']:>10.1f}{rate:>10.0f}{measured['peak_mib']:>10.0f}"
        )
    figures = {
        "ratio": round(sides["platform"]["seconds"] / sides["plain loop"]["seconds"], 3),
        "peak_mib": round(sides["platform"]["peak_mib"]),
        "peak_mib_10000": round(sides["platform, 10,000"]["peak_mib"]),
        "archive": archive.name,
    }
    print(json.dumps(figures))


def _archive(folder: Path) -> Path:
    data = os.environ.get("APP_TEST_DATA")
    given = Path(data or "") / "cifar10-jpeg.tar.xz"
    if data and given.is_file():
        return given
    path, generator = folder / "drawn.tar.xz", np.random.default_rng(0)
    with tarfile.open(path, "w:xz", preset=0) as tar:
        for number in range(DRAWN_PER_CLASS * CLASSES):
            pixels_HWC = generator.integers(0, 256, (8, 8, 3), np.uint8).repeat(4, axis=0).repeat(4, axis=1)
            buffer = io.BytesIO()
            Image.fromarray(pixels_HWC).save(buffer, "JPEG")
            _add(tar, f"class{number % CLASSES}/{number:05d}.jpg", buffer.getvalue())
    return path


def _first(archive: Path, path: Path) -> Path:
    """Every sixth file of the archive, packed in the same way."""
    with tarfile.open(archive, "r|*") as source, tarfile.open(path, "w:xz", preset=0) as target:
        files = (entry for entry in source if entry.isfile())
        for number, entry in enumerate(files):
            if number % 6 == 0 and (stream := source.extractfile(entry)):
                _add(target, entry.name, stream.read())
    return path


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _measure(side: str, archive: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.ingest", side, str(archive)]
    peak_bytes = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak_bytes = max(peak_bytes, _memory_bytes(psutil.Process(process.pid)))
            time.sleep(SAMPLED_S)
        printed, _ = process.communicate()
    measured: dict[str, float] = json.loads(printed)
    return measured | {"peak_mib": peak_bytes / 2**20}


def _memory_bytes(process: psutil.Process) -> int:
    """Of the process and those that it started; where the system shares a page out, each has its part of it."""
    total = 0
    with contextlib.suppress(psutil.Error):
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                memory = one.memory_full_info()
                total += getattr(memory, "pss", memory.uss)
    return total


def _run_side(side: str, archive: Path) -> None:
    started_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        images = _platform(archive, Path(folder)) if side == "platform" else _plain(archive, Path(folder))
    seconds = time.perf_counter() - started_s
    print(json.dumps({"images": images, "seconds": seconds}))


def _platform(archive: Path, folder: Path) -> int:
    from ml.ingest import ingest
    from ml.ingest_options import ArchiveLimits, IngestOptions

    return ingest(archive, folder, IngestOptions(), ArchiveLimits()).report.images


def _plain(archive: Path, folder: Path) -> int:
    with tarfile.open(archive, "r|*") as tar:
        tar.extractall(folder, filter="data")
    with multiprocessing.Pool() as pool:
        return sum(pool.imap_unordered(_decode, folder.rglob("*.jpg"), chunksize=256))


def _decode(path: Path) -> int:
    with Image.open(path) as image:
        image.convert("RGB")
    return 1


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _run_side(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
