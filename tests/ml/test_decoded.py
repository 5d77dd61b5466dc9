"""Decoded images that runs share: made once, found by others, never trusted, and gone before the disk is full."""

import contextlib
import importlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml import images, training
from ml.config import TrainConfig
from ml.decoded import Decoded, decoded, name_of, source_sha256
from ml.errors import Cancelled
from ml.folding import Member, as_seen
from ml.images import InputSpec
from ml.manifest import Manifest
from ml.training import Fitted
from tests.ml import small_dataset
from tests.ml.small_dataset import SmallDataset
from webapp.storage.copies import Copies

SPEC = InputSpec(size_px=16)
ENOUGH_BYTES = 2**30


class Counting:
    """The packs of a data set; `read` are the members that were asked for."""

    def __init__(self, data: SmallDataset) -> None:
        self._packs, self.asked = data.packs, []

    def read(self, pack: int, member: str) -> bytes:
        self.asked.append(member)
        return self._packs.read(pack, member)


@pytest.fixture
def data(tmp_path: Path) -> SmallDataset:
    return small_dataset.build(tmp_path / "data", train=9, validation=6, test=6)


@contextmanager
def images_of(
    data: SmallDataset, shelf: Copies | None, tmp_path: Path, manifest: Manifest | None = None, size_px: int = 16
) -> Iterator[tuple[Decoded, list[str]]]:
    """The decoded images, and which of them were decoded for it."""
    packs, spec = Counting(data), InputSpec(size_px=size_px)
    manifest = manifest or data.manifest
    with decoded(manifest, packs, spec, tmp_path, shelf, lambda share: None) as found:  # type: ignore[arg-type]
        yield found, packs.asked


def is_right(found: Decoded, data: SmallDataset, manifest: Manifest) -> bool:
    """Whether every split has the pixels that serving would see, and their classes, in the order of the manifest."""
    for split in ("train", "validation", "test"):
        rows, cached = manifest.of_split(split), found.of_split(split)
        expected = np.stack([images.to_input(data.packs.read(row.pack, row.member), SPEC) for row in rows])
        if not np.array_equal(cached.images_NCHW[np.arange(len(rows))], expected):
            return False
        if cached.labels_N.tolist() != [manifest.label_index(row.label) for row in rows]:
            return False
    return True


def test_a_second_run_decodes_nothing_and_sees_the_same(data: SmallDataset, tmp_path: Path) -> None:
    shelf = Copies(tmp_path / "shelf", ENOUGH_BYTES)
    for is_first in (True, False):
        with images_of(data, shelf, tmp_path) as (found, asked):
            assert bool(asked) == is_first
            assert is_right(found, data, data.manifest)


def test_a_run_that_finds_its_images_is_told_that_they_are_ready(data: SmallDataset, tmp_path: Path) -> None:
    """With these words it tells on which device, with how many threads, it goes on."""
    shelf, told = Copies(tmp_path / "shelf", ENOUGH_BYTES), []
    for _ in range(2):
        told.clear()
        with decoded(data.manifest, data.packs, SPEC, tmp_path, shelf, told.append):
            assert told[-1] == 1


def test_folds_and_other_labels_of_one_data_set_share_a_file_and_other_sizes_and_pixels_do_not(
    data: SmallDataset, tmp_path: Path
) -> None:
    shelf = Copies(tmp_path / "shelf", ENOUGH_BYTES)
    relabelled = [replace(row, label="malignant") for row in data.manifest.rows[:2]]
    manifests = [as_seen(data.manifest, Member(study=1, kind="folds", number=n, k=3, seed=0)) for n in (1, 2, 3)]
    manifests.append(data.manifest.model_copy(update={"rows": (*relabelled, *data.manifest.rows[2:])}))
    assert len({manifest.content_sha256() for manifest in manifests}) == 4
    for number, manifest in enumerate(manifests):
        with images_of(data, shelf, tmp_path, manifest) as (found, asked):
            assert bool(asked) == (number == 0)
            assert is_right(found, data, manifest)
    with images_of(data, shelf, tmp_path, size_px=17) as (_, asked):
        assert len(asked) == 21
    fewer = data.manifest.rows[1:]
    assert name_of(fewer, SPEC) != name_of(data.manifest.rows, SPEC)


def test_images_are_decoded_anew_where_the_code_that_makes_pixels_is_another(
    data: SmallDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Copies(tmp_path / "shelf", ENOUGH_BYTES)
    with images_of(data, shelf, tmp_path):
        monkeypatch.setattr("ml.decoded.source_sha256", lambda: "of an upgrade")
    with images_of(data, shelf, tmp_path) as (_, asked):
        assert len(asked) == 21


@pytest.mark.parametrize("module", ["images", "loader", "pack"])
def test_each_line_of_the_code_that_makes_pixels_is_in_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    before = source_sha256.__wrapped__()
    assert source_sha256.__wrapped__() == before
    maker = importlib.import_module(f"ml.{module}")
    changed = tmp_path / f"{module}.py"
    changed.write_text(f"{Path(str(maker.__file__)).read_text()}# another\n")
    monkeypatch.setattr(maker, "__file__", str(changed))
    assert source_sha256.__wrapped__() != before


def test_without_a_shelf_only_what_a_run_learns_from_is_decoded(data: SmallDataset, tmp_path: Path) -> None:
    with images_of(data, None, tmp_path) as (found, asked):
        assert len(asked) == 9 + 6
        assert (len(found.of_split("train")), len(found.of_split("validation"))) == (9, 6)


def test_what_is_in_quarantine_is_not_decoded(data: SmallDataset, tmp_path: Path) -> None:
    rows = (replace(data.manifest.rows[0], quarantined=True), *data.manifest.rows[1:])
    manifest = data.manifest.model_copy(update={"rows": rows})
    with images_of(data, Copies(tmp_path / "shelf", ENOUGH_BYTES), tmp_path, manifest) as (found, asked):
        assert len(asked) == 20
        assert is_right(found, data, manifest)


@pytest.mark.parametrize("damage", ["a byte", "the end", "the seal", "all", "more"])
def test_a_damaged_file_is_noticed_and_made_anew(data: SmallDataset, tmp_path: Path, damage: str) -> None:
    shelf = Copies(tmp_path / "shelf", ENOUGH_BYTES)
    with images_of(data, shelf, tmp_path):
        (path,) = (tmp_path / "shelf").iterdir()
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    sealed = bytearray(good)
    sealed[-1] ^= 1
    bad = {"a byte": flipped, "the end": good[:-100], "the seal": sealed, "all": b"", "more": good + b"x"}
    path.write_bytes(bad[damage])
    for is_first in (True, False):
        with images_of(data, shelf, tmp_path) as (found, asked):
            assert bool(asked) == is_first
            assert is_right(found, data, data.manifest)
    assert path.read_bytes() == good


def test_workers_that_come_at_once_decode_once(data: SmallDataset, tmp_path: Path) -> None:
    barrier, decodings = threading.Barrier(4), []

    def work() -> None:
        barrier.wait()
        with images_of(data, Copies(tmp_path / "shelf", ENOUGH_BYTES), tmp_path) as (found, asked):
            decodings.append(len(asked))
            assert is_right(found, data, data.manifest)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(decodings) == [0, 0, 0, 21]


DECODES_SLOWLY = """
import sys, time
from pathlib import Path
from ml.decoded import decoded
from ml.images import InputSpec
from tests.ml import small_dataset
from webapp.storage.copies import Copies

folder = Path(sys.argv[1])
data = small_dataset.build(folder / "again", train=9, validation=6, test=6)


def report(share):
    if share == 0:
        print("decoding", flush=True)
        sys.stdin.read()


with decoded(data.manifest, data.packs, InputSpec(size_px=16), folder, Copies(folder / "shelf", 2**30), report):
    pass
"""


@pytest.fixture
def slow_one(data: SmallDataset, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Another worker in the middle of decoding the same images; it ends that once its standard input is closed."""
    command, around = [sys.executable, "-c", DECODES_SLOWLY, str(tmp_path)], os.environ | {"PYTHONPATH": "."}
    with subprocess.Popen(command, env=around, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"decoding\n"
        yield process
        process.stdin.close()


def test_who_waits_for_the_decoding_of_another_reports_meanwhile(
    data: SmallDataset, tmp_path: Path, slow_one: "subprocess.Popen[bytes]"
) -> None:
    told, packs = [], Counting(data)

    def report(share: float) -> None:
        told.append(share)
        if len(told) == 3:
            slow_one.stdin.close()

    with decoded(data.manifest, packs, SPEC, tmp_path, Copies(tmp_path / "shelf", ENOUGH_BYTES), report) as found:  # type: ignore[arg-type]
        assert is_right(found, data, data.manifest)
    assert (told[:3], told[-1], packs.asked) == ([0, 0, 0], 1, [])


def test_who_waits_for_the_decoding_of_another_can_be_stopped(
    data: SmallDataset, tmp_path: Path, slow_one: "subprocess.Popen[bytes]"
) -> None:
    def report(share: float) -> None:
        raise Cancelled("by a person")

    shelf = Copies(tmp_path / "shelf", ENOUGH_BYTES)
    with pytest.raises(Cancelled), decoded(data.manifest, data.packs, SPEC, tmp_path, shelf, report):
        pass
    assert slow_one.poll() is None


def test_the_check_of_a_found_file_is_reported_with_each_chunk(
    data: SmallDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, told = Copies(tmp_path / "shelf", ENOUGH_BYTES), []
    with images_of(data, shelf, tmp_path):
        monkeypatch.setattr("ml.decoded._CHUNK_BYTES", 1000)
    with decoded(data.manifest, data.packs, SPEC, tmp_path, shelf, told.append):
        assert len(told) > 21 * 3 * 16 * 16 // 1000


def test_of_two_who_find_a_damaged_file_the_second_leaves_the_good_one_of_the_first(
    data: SmallDataset, tmp_path: Path
) -> None:
    shelf, told = Copies(tmp_path / "shelf", ENOUGH_BYTES), []
    with images_of(data, shelf, tmp_path):
        (path,) = (tmp_path / "shelf").iterdir()
    path.write_bytes(path.read_bytes() + b"x")
    with contextlib.ExitStack() as stack:

        def the_first_comes_meanwhile(share: float) -> None:
            told.append(share)
            if len(told) == 1:
                _, asked = stack.enter_context(images_of(data, shelf, tmp_path))
                assert len(asked) == 21
                told.append(path.stat().st_ino)

        packs = Counting(data)
        with decoded(data.manifest, packs, SPEC, tmp_path, shelf, the_first_comes_meanwhile) as found:  # type: ignore[arg-type]
            assert is_right(found, data, data.manifest)
            assert (path.stat().st_ino, packs.asked) == (told[1], [])


def test_the_file_that_was_used_longest_ago_goes_first(data: SmallDataset, tmp_path: Path) -> None:
    shelf = Copies(tmp_path / "shelf", 2 * 21 * 3 * 20 * 20)
    decodings = {}
    for size_px in (16, 17, 16, 18, 16, 17):
        with images_of(data, shelf, tmp_path, size_px=size_px) as (_, asked):
            decodings.setdefault(size_px, []).append(len(asked))
        time.sleep(0.01)  # the order of use is told by times
    assert decodings == {16: [21, 0, 0], 17: [21, 21], 18: [21]}


KILLED = """
import os, signal, sys
from pathlib import Path
from ml import loader
from ml.decoded import decoded
from ml.images import InputSpec
from tests.ml import small_dataset
from webapp.storage.copies import Copies

loader._CHUNK = 4
data, folder = small_dataset.build(Path(sys.argv[1]) / "again", train=9, validation=6, test=6), Path(sys.argv[1])


def report(share):
    if share > 0.5:
        os.kill(os.getpid(), signal.SIGKILL)


with decoded(data.manifest, data.packs, InputSpec(size_px=16), folder, Copies(folder / "shelf", 2**30), report):
    pass
"""


def test_a_worker_that_is_killed_while_it_decodes_leaves_nothing_that_another_takes_for_whole(
    data: SmallDataset, tmp_path: Path
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=os.environ | {"PYTHONPATH": "."})
    assert killed.returncode == -signal.SIGKILL
    left = {path.name for path in (tmp_path / "shelf").iterdir()}
    assert {name.partition("-")[0] for name in left if not name.endswith(".turn")} == {"draft"}
    with images_of(data, Copies(tmp_path / "shelf", 1), tmp_path) as (found, asked):
        assert len(asked) == 21
        assert is_right(found, data, data.manifest)
        assert len(os.listdir(tmp_path / "shelf")) == 1  # the draft of the dead is gone


FULL_DISK = """
import errno, os, sys
from pathlib import Path
from ml.decoded import decoded
from ml.images import InputSpec
from tests.ml import small_dataset
from webapp.storage.copies import Copies

folder = Path(sys.argv[1])
data = small_dataset.build(folder / "data")
try:
    shelf, spec = Copies(folder / "s", 2**30), InputSpec(size_px=256)
    with decoded(data.manifest, data.packs, spec, folder, shelf, lambda share: None):
        pass
except OSError as error:
    print(errno.errorcode[error.errno], os.listdir(folder / "s"))
"""


def test_a_full_disk_is_an_error_and_leaves_no_wreck(tmp_path: Path) -> None:
    mounting = f"mount -t tmpfs -o size=1m none {tmp_path}"
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*alone, mounting], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a small disk")
    command = f'{mounting} && exec "{sys.executable}" -c "$0" {tmp_path}'
    ended = subprocess.run([*alone, command, FULL_DISK], capture_output=True, text=True)
    assert (ended.stdout.strip(), ended.returncode) == ("ENOSPC []", 0), ended.stderr


def test_a_run_on_shared_images_ends_with_the_bits_of_one_that_decoded_for_itself(
    data: SmallDataset, tmp_path: Path
) -> None:
    config = TrainConfig(epochs=2, image_size_px=16, batch_size=4, device="cpu", precision="float32")

    def fit(name: str, shelf: Copies | None) -> Fitted:
        folder = tmp_path / name
        folder.mkdir()
        told = (lambda progress: None, lambda path, epoch: None)
        return training.fit(config, data.manifest, data.packs, folder, *told, shelf=shelf)

    shelf = Copies(tmp_path / "shelf", ENOUGH_BYTES)
    own, *others = fit("own", None), fit("first", shelf), fit("second", shelf)
    for other in others:
        assert own.history[-1].train_loss == other.history[-1].train_loss
        pairs = zip(own.network.state_dict().values(), other.network.state_dict().values(), strict=True)
        assert all(one.equal(two) for one, two in pairs)
