"""Ingest of an archive of 60,000 small images beside a plain loop over the same archive.

The plain loop does the least that any ingest must: read each member of the tar, decode it, encode it as PNG, and
write it to a file of its own. The ingest also checks, hashes, splits, packs and writes the manifest. Each side runs
in a process of its own; memory is the peak of that process. With `APP_TEST_DATA` the archive is its
`cifar10-jpeg.tar.xz`, without it one that is drawn here.
"""

import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

DRAWN_PER_CLASS = 6_000
CLASSES = 10


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = _archive(Path(folder))
        ours, plain = _measure("platform", archive), _measure("plain", archive)
    ratio = ours["images_per_s"] / plain["images_per_s"]
    print(f"{'side':<10}{'images':>8}{'seconds':>10}{'images/s':>10}{'peak MiB':>10}")
    for side, measured in (("platform", ours), ("plain loop", plain)):
        print(
            f"{side:<10}{measured['images']:>8.0f}{measured['seconds']:>10.1f}"
            f"{measured['images_per_s']:>10.0f}{measured['peak_mib']:>10.0f}"
        )
    print(json.dumps({"ratio": round(ratio, 3), "peak_mib": round(ours["peak_mib"]), "archive": archive.name}))


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
            entry = tarfile.TarInfo(f"class{number % CLASSES}/{number:05d}.jpg")
            entry.size = len(buffer.getvalue())
            tar.addfile(entry, io.BytesIO(buffer.getvalue()))
    return path


def _measure(side: str, archive: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.ingest", side, str(archive)], capture_output=True, text=True, check=True
    )
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _run_side(side: str, archive: Path) -> None:
    started_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        images = _platform(archive, Path(folder)) if side == "platform" else _plain(archive, Path(folder))
    seconds = time.perf_counter() - started_s
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(json.dumps({"images": images, "seconds": seconds, "images_per_s": images / seconds, "peak_mib": peak_mib}))


def _platform(archive: Path, folder: Path) -> int:
    from ml.config import ArchiveLimits, IngestOptions
    from ml.ingest import ingest

    return len(ingest(archive, folder, IngestOptions(), ArchiveLimits(), lambda done: None).manifest.rows)


def _plain(archive: Path, folder: Path) -> int:
    images = 0
    with tarfile.open(archive, "r|*") as tar:
        for entry in tar:
            if entry.isfile() and (stream := tar.extractfile(entry)):
                Image.open(stream).convert("RGB").save(folder / f"{images:06d}.png", compress_level=1)
                images += 1
    return images


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _run_side(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
