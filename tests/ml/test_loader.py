"""Decoded images in a file, and batches of them."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from ml import images, loader
from ml.errors import Cancelled
from ml.images import InputSpec
from ml.loader import Batches, Cached
from tests.ml import small_dataset


def _numbered(n: int) -> Cached:
    images_NCHW = np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1).repeat(3, axis=1)
    return Cached(images_NCHW, np.arange(n, dtype=np.int64))


def _labels(batches: Batches) -> list[int]:
    return [int(label) for _, labels_N in batches for label in labels_N]


def test_the_cache_holds_what_serving_would_see(tmp_path: Path) -> None:
    data, spec = small_dataset.build(tmp_path / "data"), InputSpec(size_px=16)
    rows = data.manifest.of_split("validation")
    cached = loader.cache(data.manifest, rows, data.packs, spec, tmp_path / "cache.npy")
    expected = [images.to_input(data.packs.read(row.pack, row.member), spec) for row in rows]
    assert np.array_equal(cached.images_NCHW, np.stack(expected))
    assert cached.labels_N.tolist() == [0, 1, 0, 1]


def test_the_cache_lies_in_a_file_and_not_in_memory(tmp_path: Path) -> None:
    data = small_dataset.build(tmp_path / "data")
    rows = data.manifest.of_split("train")
    cached = loader.cache(data.manifest, rows, data.packs, InputSpec(size_px=16), tmp_path / "cache.npy")
    assert isinstance(cached.images_NCHW, np.memmap)
    assert (tmp_path / "cache.npy").stat().st_size > 8 * 3 * 16 * 16


def test_whoever_hears_the_progress_may_stop_the_decoding(tmp_path: Path) -> None:
    data = small_dataset.build(tmp_path / "data")

    def stop(done: int) -> None:
        raise Cancelled

    rows = data.manifest.of_split("train")
    with pytest.raises(Cancelled):
        loader.cache(data.manifest, rows, data.packs, InputSpec(size_px=16), tmp_path / "cache.npy", stop)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve room")
def test_room_for_all_images_is_taken_before_the_first_is_decoded(tmp_path: Path) -> None:
    data, path = small_dataset.build(tmp_path / "data"), tmp_path / "cache.npy"
    taken = []

    def note(done: int) -> None:
        taken.append(path.stat().st_blocks * 512)

    loader.cache(data.manifest, data.manifest.of_split("train"), data.packs, InputSpec(size_px=64), path, note)
    assert taken[0] >= 8 * 3 * 64 * 64


FULL_DISK = """
import errno, sys
from pathlib import Path
from ml import loader
from ml.images import InputSpec
from tests.ml import small_dataset

data = small_dataset.build(Path(sys.argv[1]) / "data")
try:
    loader.cache(data.manifest, data.manifest.rows, data.packs, InputSpec(size_px=256), Path(sys.argv[1]) / "c.npy")
except OSError as error:
    print(errno.errorcode[error.errno])
"""


def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    mounting = f"mount -t tmpfs -o size=1m none {tmp_path}"
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*alone, mounting], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a small disk")
    command = f'{mounting} && exec "{sys.executable}" -c "$0" {tmp_path}'
    ended = subprocess.run([*alone, command, FULL_DISK], capture_output=True, text=True)
    assert (ended.stdout.strip(), ended.returncode) == ("ENOSPC", 0), ended.stderr


def test_without_a_generator_each_image_comes_once_in_order() -> None:
    batches = Batches(_numbered(10), 4)
    assert _labels(batches) == list(range(10))
    assert len(batches) == len(list(batches)) == 3


def test_with_a_generator_the_order_differs_between_passes_and_repeats_with_the_seed() -> None:
    first, second = (Batches(_numbered(40), 8, torch.Generator().manual_seed(3)) for _ in range(2))
    passes = [_labels(first), _labels(first)]
    assert passes[0] != passes[1]
    assert passes == [_labels(second), _labels(second)]
    assert sorted(passes[0]) == list(range(40))


def test_an_incomplete_last_batch_is_left_out_of_training() -> None:
    batches = Batches(_numbered(9), 4, torch.Generator())
    assert [len(labels_N) for _, labels_N in batches] == [4, 4]
    assert len(batches) == 2


def test_fewer_images_than_a_batch_are_one_batch() -> None:
    batches = Batches(_numbered(3), 32, torch.Generator())
    assert sorted(_labels(batches)) == [0, 1, 2]
    assert len(batches) == 1


def test_images_and_labels_stay_together() -> None:
    for images_NCHW, labels_N in Batches(_numbered(20), 5, torch.Generator()):
        assert images_NCHW.dtype == torch.uint8
        assert images_NCHW[:, 0, 0, 0].tolist() == labels_N.tolist()


def test_weights_decide_how_often_an_image_is_drawn() -> None:
    weights_N = torch.tensor([0.0] * 10 + [1.0] * 10)
    batches = Batches(_numbered(20), 5, torch.Generator().manual_seed(0), weights_N)
    drawn = _labels(batches)
    assert len(drawn) == 20
    assert set(drawn) <= set(range(10, 20))


def test_batches_read_ahead_are_the_batches_in_their_order() -> None:
    one, other = (Batches(_numbered(23), 4, torch.Generator().manual_seed(5)) for _ in range(2))
    ahead = [labels_N.tolist() for _, labels_N in loader.resident(one, torch.device("cpu"))]
    assert ahead == [labels_N.tolist() for _, labels_N in other]


def test_a_pass_that_is_left_early_leaves_no_thread() -> None:
    before = threading.active_count()
    for _ in loader.resident(Batches(_numbered(40), 4, torch.Generator()), torch.device("cpu")):
        break
    assert threading.active_count() == before


def test_images_that_are_named_are_mirrored_and_no_others() -> None:
    images_NCHW = np.arange(6 * 3 * 2 * 4, dtype=np.uint8).reshape(6, 3, 2, 4)
    mirrored_N = np.array([True, False, False, True, False, True])
    batches = Batches(Cached(images_NCHW, np.arange(6)), 4, mirrored_N=mirrored_N)
    read_NCHW = np.concatenate([images.numpy() for images, _ in batches])
    for read_CHW, image_CHW, is_mirrored in zip(read_NCHW, images_NCHW, mirrored_N, strict=True):
        assert np.array_equal(read_CHW, image_CHW[:, :, ::-1] if is_mirrored else image_CHW)
