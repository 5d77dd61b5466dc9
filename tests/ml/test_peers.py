"""Several processes that train one run, on the processor."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed

from ml import peers, training
from ml.config import TrainConfig
from ml.errors import BadConfig, Cancelled
from ml.loader import Batches, Cached
from ml.share import Share
from ml.training import Progress
from tests.ml import small_dataset
from tests.sites import children_of, is_alive, wait_until

TWO = {"devices": 2, "device": "cpu", "precision": "float32", "image_size_px": 32, "batch_size": 8}

pytestmark = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two processes need two cores")


def test_a_run_that_two_processes_began_and_one_ended_is_that_of_one_process(tmp_path: Path) -> None:
    data, kept = small_dataset.build(tmp_path / "data", train=17), tmp_path / "kept.pt"
    fields = {"epochs": 2, "dropout": 0, "label_smoothing": 0.1, "weight_averaging": 0.9, **TWO}
    both, alone = (TrainConfig.model_validate(fields | {"devices": devices}) for devices in (2, 1))
    before = set(children_of(os.getpid()))

    def stop_in_the_second_epoch(progress: Progress) -> None:
        if progress.epoch == 2:
            raise Cancelled

    given = (data.manifest, data.packs)
    with pytest.raises(Cancelled):
        training.fit(both, *given, tmp_path, stop_in_the_second_epoch, lambda path, epoch: shutil.copy(path, kept))
    assert set(children_of(os.getpid())) == before
    resumed, whole = (training.fit(alone, *given, tmp_path, _ignore, _ignore, start) for start in (kept, None))
    assert [one.train_loss for one in resumed.history] == pytest.approx([one.train_loss for one in whole.history])
    pairs = zip(resumed.network.state_dict().values(), whole.network.state_dict().values(), strict=True)
    assert all(torch.allclose(one, other, rtol=1e-3, atol=1e-4) for one, other in pairs)


def _ignore(*_: object) -> None:
    """Nobody listens."""


@pytest.mark.parametrize("lost", ["the peer", "this process"])
def test_neither_process_outlives_the_other(tmp_path: Path, lost: str) -> None:
    program = f"from tests.ml import test_peers; test_peers.wait_for_the_peer({str(tmp_path)!r})"
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
    wait_until(lambda: (tmp_path / "peer").exists(), timeout_s=120)
    (peer,) = children_of(process.pid)
    os.kill(peer if lost == "the peer" else process.pid, signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert (b"rank 1 of 2 ended with status -9" in said) == (lost == "the peer")
    assert process.returncode == (1 if lost == "the peer" else -signal.SIGKILL)
    wait_until(lambda: not is_alive(peer))


def wait_for_the_peer(folder: str) -> None:
    """What the process does that this module starts: it waits for a sum to which its peer adds nothing."""
    with peers.beside(2, torch.device("cpu"), Path(folder), peers.Task(sleep, (folder,))):
        distributed.all_reduce(torch.zeros(1))


def sleep(share: Share, device: torch.device, folder: str) -> None:
    """What its peer does, once both have met."""
    (Path(folder) / "peer").touch()
    time.sleep(600)


def test_shares_of_a_batch_are_equally_large_and_together_the_batch() -> None:
    cached = Cached(np.zeros((11, 3, 1, 1), np.uint8), np.arange(11))

    def orders(share: Share, batch_size: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(4)
        return [order_N.tolist() for order_N in Batches(cached, batch_size, generator, share=share).orders()]

    one, other = (orders(Share(rank, 2), 4) for rank in (0, 1))
    assert [sorted(a + b) for a, b in zip(one, other, strict=True)] == orders(Share(), 4)
    assert [len(share) for share in orders(Share(0, 2), 64)] == [5]  # of 11 images, which two cannot share


def test_fewer_images_than_devices_are_refused(tmp_path: Path) -> None:
    data = small_dataset.build(tmp_path / "data", train=1)
    with pytest.raises(BadConfig, match="1 training images cannot be shared by 2 devices"):
        training.fit(TrainConfig.model_validate(TWO), data.manifest, data.packs, tmp_path, _ignore, _ignore)
