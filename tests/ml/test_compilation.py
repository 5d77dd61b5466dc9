"""Compiled steps: where they are had, and that they learn what plain ones learn."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from ml import compilation, training
from ml.compilation import Compilation
from ml.config import TrainConfig
from ml.errors import BadConfig
from ml.progress import EpochResult
from tests.ml import small_dataset

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of torch's own compiler

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def epoch(number: int, images_per_s: float, seconds: float = 60) -> EpochResult:
    figures = {"train_loss": 1, "train_accuracy": 1, "validation_loss": 1, "validation_accuracy": 1, "learning_rate": 1}
    return EpochResult(number=number, seconds=seconds, images_per_s=images_per_s, validation_auc=None, **figures)


def followed(chosen: Compilation, network: nn.Module, rates: list[float], seconds: float = 60) -> list[bool]:
    """Which epochs are compiled, where they turn out to be as fast as that."""
    found = []
    for number, rate in enumerate(rates, start=1):
        found.append(chosen.learner() is not network)
        chosen.note(epoch(number, rate, seconds))
    return found


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    monkeypatch.setattr(compilation, "_missing", lambda device: None)
    return nn.Conv2d(1, 1, 1)


def test_auto_keeps_compiled_steps_that_are_faster(on_a_gpu: nn.Module) -> None:
    chosen = Compilation(TrainConfig(epochs=100), on_a_gpu, CUDA)
    assert followed(chosen, on_a_gpu, [100, 20, 150, 150, 149]) == [False, True, True, True, True]


def test_auto_goes_back_where_compiled_steps_are_slower(on_a_gpu: nn.Module) -> None:
    chosen = Compilation(TrainConfig(epochs=100), on_a_gpu, CUDA)
    assert followed(chosen, on_a_gpu, [100, 20, 99, 100, 100]) == [False, True, True, False, False]


def test_auto_does_not_try_where_little_is_left(on_a_gpu: nn.Module) -> None:
    chosen = Compilation(TrainConfig(epochs=100), on_a_gpu, CUDA)
    assert followed(chosen, on_a_gpu, [100] * 3, seconds=6) == [False] * 3


@pytest.mark.parametrize(("wanted", "device"), [("auto", CPU), ("off", CPU), ("off", CUDA)])
def test_steps_stay_as_they_are(wanted: str, device: torch.device, on_a_gpu: nn.Module) -> None:
    chosen = Compilation(TrainConfig(epochs=100, compile=wanted), on_a_gpu, device)
    assert followed(chosen, on_a_gpu, [100] * 3) == [False] * 3


def test_without_a_compiler_auto_goes_on_and_on_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    network = nn.Conv2d(1, 1, 1)
    assert followed(Compilation(TrainConfig(epochs=100), network, CUDA), network, [100] * 3) == [False] * 3
    with pytest.raises(BadConfig, match=r"need a C\+\+ compiler \(g\+\+\) where the training runs"):
        Compilation(TrainConfig(compile="on"), network, CPU)


def test_several_devices_cannot_share_compiled_steps() -> None:
    with pytest.raises(ValueError, match="Compiled steps are for one device"):
        TrainConfig(compile="on", devices=2)


@pytest.mark.slow
def test_compiled_steps_learn_what_plain_ones_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    data = small_dataset.build(tmp_path / "data", train=16)
    losses = {}
    for wanted in ("off", "on"):
        config = TrainConfig(
            image_size_px=32, epochs=3, batch_size=8, device="cpu", precision="float32", dropout=0, compile=wanted
        )
        (tmp_path / wanted).mkdir()
        fitted = training.fit(
            config, data.manifest, data.packs, tmp_path / wanted, lambda progress: None, lambda path, epoch: None
        )
        losses[wanted] = [result.train_loss for result in fitted.history]
    assert losses["on"] == pytest.approx(losses["off"], rel=1e-3)
    assert list((tmp_path / "cache").rglob("*.so"))  # it was compiled
