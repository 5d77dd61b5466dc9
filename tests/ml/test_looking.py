"""Small images are looked at in processes beside this one, which end with it and fall alone."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from ml.errors import BadImage
from ml.images import ImageArray, ImageFile
from ml.ingest import ingest
from ml.ingest_options import ArchiveLimits, IngestOptions
from ml.looking import IMAGES_AT_ONCE, Looking, Seen, look
from tests.ml.factories import encoded, files, noise, zip_of


class Deadly(ImageArray):
    """Ends the process that looks at it, as a fault in a decoder would."""

    def __call__(self) -> np.ndarray:
        os._exit(9)


@pytest.fixture
def looking() -> Iterator[Looking]:
    with Looking() as opened:
        yield opened
    assert children() == []


def children() -> list[psutil.Process]:
    """The processes that look at images; other tests may have left helpers of Python's own."""
    own = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any("looking.serve" in part for part in child.cmdline()):
                own.append(child)
    return own


def small_files() -> list[ImageFile]:
    return [ImageFile(encoded(noise(seed)), 100) for seed in range(IMAGES_AT_ONCE)]


def hashes(answers: list[Seen | BadImage]) -> list[str]:
    return [answer.sha256 if isinstance(answer, Seen) else str(answer) for answer in answers]


def test_processes_see_what_this_one_sees_and_in_its_order(looking: Looking) -> None:
    batch = [*small_files()[:-2], ImageFile(b"no image", 100), ImageArray(noise(1)[:, :, 0])]
    batches = [looking.start(batch) for _ in range(5)]
    for answers in batches:
        assert hashes(answers.result()) == hashes(list(map(look, batch)))
    assert children() != []


def test_few_images_start_no_process(looking: Looking) -> None:
    assert len(looking.start(small_files()[:-1]).result()) == IMAGES_AT_ONCE - 1
    assert children() == []


def test_an_image_that_brings_its_process_down_is_refused_alone(looking: Looking) -> None:
    batch = [Deadly(noise(0)), *small_files()[1:]]
    first, *others = looking.start(batch).result()
    assert isinstance(first, BadImage)
    assert "brings its decoder down" in str(first)
    assert hashes(others) == hashes(list(map(look, batch[1:])))
    assert len(looking.start(small_files()).result()) == IMAGES_AT_ONCE


def test_the_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "from tests.ml.test_looking import *\n"
        "with Looking() as looking:\n"
        "    looking.start(small_files()).result()\n"
        "    print(*(child.pid for child in children()), flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert pids
        assert all(map(psutil.pid_exists, pids))
        parent.kill()
    deadline = time.monotonic() + 10
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(psutil.pid_exists, pids))


def test_an_ingest_with_processes_gives_the_bytes_of_one_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zip_of(tmp_path / "a.zip", files("a", "b", count=2 * IMAGES_AT_ONCE) | {"a/bad.png": b"no image"})
    made = []
    for name in ("with", "without"):
        folder = tmp_path / name
        folder.mkdir()
        done = ingest(archive, folder, IngestOptions(), ArchiveLimits())
        made.append([path.read_bytes() for path in sorted(folder.iterdir())])
        assert [refused.path for refused in done.report.rejected] == ["a/bad.png"]
        monkeypatch.setattr("ml.intake.is_small", lambda decode: False)
    assert made[0] == made[1]
