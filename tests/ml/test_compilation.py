"""Compiled steps: where they are had, and that they learn what plain ones learn."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._inductor import config as inductor

from ml import compilation, networks, training
from ml.compilation import Compilation
from ml.config import TrainConfig
from ml.errors import BadConfig
from ml.progress import EpochResult
from ml.training import Fitted
from tests.ml import small_dataset

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of torch's own compiler

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def followed(chosen: Compilation, network: nn.Module, rates: list[float], seconds: float = 60) -> list[bool]:
    """Which epochs are compiled, where they turn out to be as fast as that."""
    figures = {"train_loss": 1, "train_accuracy": 1, "validation_loss": 1, "validation_accuracy": 1, "learning_rate": 1}
    found = []
    for number, images_per_s in enumerate(rates, start=1):
        found.append(chosen.learner() is not network)
        result = EpochResult(number=number, seconds=seconds, images_per_s=images_per_s, validation_auc=None, **figures)
        assert chosen.note(result) == found[-1]
    return found


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    monkeypatch.setattr(compilation, "_missing", lambda device: None)
    return networks.build(TrainConfig(), 2)


def test_auto_keeps_compiled_steps_that_are_faster(on_a_gpu: nn.Module) -> None:
    chosen = Compilation(TrainConfig(epochs=100), on_a_gpu, CUDA)
    assert followed(chosen, on_a_gpu, [50, 100, 20, 150, 90, 90]) == [False, False, True, True, True, True]


def test_auto_goes_back_where_compiled_steps_are_slower(on_a_gpu: nn.Module) -> None:
    chosen = Compilation(TrainConfig(epochs=100), on_a_gpu, CUDA)
    assert followed(chosen, on_a_gpu, [50, 100, 20, 99, 90, 90]) == [False, False, True, True, False, False]


def test_auto_does_not_try_where_little_is_left(on_a_gpu: nn.Module) -> None:
    chosen = Compilation(TrainConfig(epochs=100), on_a_gpu, CUDA)
    assert followed(chosen, on_a_gpu, [100] * 4, seconds=6) == [False] * 4


@pytest.mark.parametrize("fields", [{"devices": 2}, {"unfreeze_epochs": 2, "initial_weights": "version:1"}])
def test_auto_does_not_try_where_epochs_cannot_be_compared(on_a_gpu: nn.Module, fields: dict[str, Any]) -> None:
    chosen = Compilation(TrainConfig(epochs=100, **fields), on_a_gpu, CUDA)
    assert followed(chosen, on_a_gpu, [100] * 4) == [False] * 4


@pytest.mark.parametrize(("wanted", "device"), [("auto", CPU), ("off", CPU), ("off", CUDA)])
def test_steps_stay_as_they_are(wanted: str, device: torch.device, on_a_gpu: nn.Module) -> None:
    chosen = Compilation(TrainConfig(epochs=100, compile=wanted), on_a_gpu, device)
    assert followed(chosen, on_a_gpu, [100] * 4) == [False] * 4


def test_auto_does_not_try_where_features_are_computed_once(on_a_gpu: nn.Module) -> None:
    config = TrainConfig(network="mobilenet_v3_small", initial_weights="imagenet", epochs=100)
    frozen = networks.build(config, 2)
    assert followed(Compilation(config, frozen, CUDA), frozen, [50, 100, 20, 150]) == [False] * 4


def test_programs_that_are_used_no_more_give_their_memory_back(
    on_a_gpu: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    resets = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: resets.append(True))
    faster, slower = (Compilation(TrainConfig(epochs=100), on_a_gpu, CUDA) for _ in range(2))
    followed(faster, on_a_gpu, [50, 100, 20, 150, 90])
    assert not resets
    followed(slower, on_a_gpu, [50, 100, 20, 99, 90])
    assert resets == [True]


def test_want_of_memory_is_no_fault_of_the_compiler(on_a_gpu: nn.Module) -> None:
    full = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(torch.OutOfMemoryError):
        Compilation(TrainConfig(compile="on"), on_a_gpu, CUDA).give_up(full)
    with pytest.raises(torch.OutOfMemoryError):  # of plain steps
        Compilation(TrainConfig(), on_a_gpu, CPU).give_up(full)


def test_an_error_without_a_word_is_told_by_its_kind(on_a_gpu: nn.Module) -> None:
    with pytest.raises(BadConfig, match=r"cannot be compiled: RuntimeError\. The worker's log has the rest\."):
        Compilation(TrainConfig(compile="on"), on_a_gpu, CUDA).give_up(RuntimeError())


def test_without_a_compiler_auto_goes_on_and_on_is_refused() -> None:
    plain = network = networks.build(TrainConfig(), 2)
    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}):
        assert followed(Compilation(TrainConfig(epochs=100), plain, CUDA), plain, [100] * 4) == [False] * 4
        with pytest.raises(BadConfig, match=r"need a C\+\+ compiler \(g\+\+\) where the training runs"):
            compilation.check(TrainConfig(compile="on"), network, CPU)


def test_features_of_a_frozen_backbone_have_no_steps_to_compile() -> None:
    config = TrainConfig(network="mobilenet_v3_small", initial_weights="imagenet", compile="on")
    with pytest.raises(BadConfig, match="which leaves no steps to compile"):
        compilation.check(config, networks.build(config, 2), CPU)


def _fit(folder: Path, wanted: str, resume_from: Path | None = None) -> Fitted:
    fields = {"image_size_px": 32, "epochs": 3, "batch_size": 8, "precision": "float32", "dropout": 0}
    folder.mkdir()
    data = small_dataset.build(folder / "data", train=16)
    return training.fit(
        TrainConfig.model_validate({**fields, "device": "cpu", "compile": wanted}),
        data.manifest,
        data.packs,
        folder,
        lambda progress: None,
        lambda path, epoch: shutil.copy(path, folder / f"{epoch}.pt"),
        resume_from,
    )


@pytest.fixture
def broken_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One that is there and fails, as without the headers that it needs."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    compiler = tmp_path / "g++"
    compiler.write_text('#!/bin/sh\n[ "$1" = --version ] && echo g++ 14 && exit 0\necho no headers >&2; exit 1\n')
    compiler.chmod(0o755)
    torch.compiler.reset()
    with inductor.patch({"cpp.cxx": (str(compiler),)}):
        yield


@pytest.mark.usefixtures("broken_compiler")
def test_a_run_that_wants_programs_ends_where_they_cannot_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = (
        r"The steps cannot be compiled: CppCompileError: C\+\+ compile error\. The worker's log has the rest\. Choose"
    )
    with pytest.raises(BadConfig, match=told):
        _fit(tmp_path / "run", "on")
    assert "no headers" in caplog.text


@pytest.mark.usefixtures("broken_compiler")
def test_a_run_that_tries_programs_goes_on_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = _fit(tmp_path / "plain", "off")
    monkeypatch.setattr(compilation, "_may_pay", lambda config, network, device: True)
    monkeypatch.setattr(Compilation, "is_next", lambda self: self._tries)  # from the first epoch on
    fitted = _fit(tmp_path / "run", "auto")
    assert "steps_not_compiled" in caplog.messages
    assert "no headers" in caplog.text
    assert fitted.compiled_epochs == 0
    assert [result.train_loss for result in fitted.history] == [result.train_loss for result in plain.history]


def test_several_devices_cannot_share_compiled_steps() -> None:
    with pytest.raises(ValueError, match="Compiled steps are for one device"):
        TrainConfig(compile="on", devices=2)


@pytest.mark.slow
def test_compiled_steps_learn_what_plain_ones_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    torch.compiler.reset()
    compiled, plain = _fit(tmp_path / "on", "on"), _fit(tmp_path / "off", "off")
    resumed = _fit(tmp_path / "resumed", "on", resume_from=tmp_path / "on" / "2.pt")
    assert (compiled.compiled_epochs, plain.compiled_epochs, resumed.compiled_epochs) == (3, 0, 3)
    assert [result.train_loss for result in compiled.history] == pytest.approx(
        [result.train_loss for result in plain.history], rel=1e-3
    )
    ends = (compiled.network.state_dict(), resumed.network.state_dict())
    assert all(torch.equal(*pair) for pair in zip(*(end.values() for end in ends), strict=True))
    assert list((tmp_path / "cache").rglob("*.so"))  # it was compiled
