"""What only an NVIDIA GPU can show."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ml import compilation, device, onnx_runtime, training
from ml.config import TrainConfig
from ml.errors import BadConfig
from ml.self_test import SelfTest
from ml.serving import Predictor
from ml.training import Fitted
from tests.ml import small_dataset, small_version

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no NVIDIA GPU"),
]


def _fit(folder: Path, **fields: object) -> Fitted:
    small = {"image_size_px": 32, "epochs": 3, "batch_size": 8, "dropout": 0, "precision": "float32"}
    config = TrainConfig.model_validate({**small, **fields})
    folder.mkdir()
    data = small_dataset.build(folder / "data", train=16)
    return training.fit(config, data.manifest, data.packs, folder, lambda progress: None, lambda path, epoch: None)


@pytest.mark.parametrize("network", ["cnn", "cnn_fast"])
def test_a_gpu_learns_what_the_processor_learns(tmp_path: Path, network: str) -> None:
    gpu, cpu = (_fit(tmp_path / name, device=name, network=network) for name in ("cuda", "cpu"))
    assert gpu.device.startswith("cuda: ")
    assert [one.train_loss for one in gpu.history] == pytest.approx([one.train_loss for one in cpu.history], rel=0.05)


@pytest.mark.parametrize("precision", ["auto", "bfloat16", "float16"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_every_precision_trains_with_every_optimizer(tmp_path: Path, precision: str, optimizer: str) -> None:
    fitted = _fit(tmp_path / "run", device="cuda", precision=precision, optimizer=optimizer, epochs=2)
    assert all(math.isfinite(result.train_loss) for result in fitted.history)


@pytest.mark.skipif(bool(compilation._missing(torch.device("cuda"))), reason="no compiler is installed")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of torch's own compiler
@pytest.mark.parametrize("network", ["cnn", "cnn_fast", "resnet18"])
def test_compiled_steps_learn_what_plain_ones_learn(tmp_path: Path, network: str) -> None:
    compiled, plain = (
        _fit(tmp_path / wanted, device="cuda", network=network, compile=wanted) for wanted in ("on", "off")
    )
    assert [one.train_loss for one in compiled.history] == pytest.approx(
        [one.train_loss for one in plain.history], rel=0.05
    )


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="this machine has fewer than two NVIDIA GPUs")
def test_two_gpus_learn_what_one_learns(tmp_path: Path) -> None:
    two, one = (_fit(tmp_path / str(count), device="cuda", devices=count) for count in (2, 1))
    assert [each.train_loss for each in two.history] == pytest.approx(
        [each.train_loss for each in one.history], rel=0.05
    )


def test_more_gpus_than_there_are_are_refused_with_their_number() -> None:
    present = torch.cuda.device_count()
    with pytest.raises(BadConfig, match=f"has {present} devices 'cuda'; {present + 1} were asked for"):
        device.choose("cuda", devices=present + 1)


@pytest.mark.skipif(not onnx_runtime.offers_cuda(), reason="the package onnxruntime-gpu is not installed")
def test_predictions_on_a_gpu_are_those_of_the_processor(tmp_path: Path) -> None:
    card = small_version.write(tmp_path)
    cpu, gpu = (Predictor(tmp_path / "model.onnx", card, device=name) for name in ("cpu", "cuda"))
    assert (cpu.device, gpu.device) == ("cpu", "cuda")
    for count in (1, 5, 8):  # as many as wait together
        images_NCHW = np.random.default_rng(count).integers(0, 256, (count, 3, 32, 32), np.uint8)
        expected_NK = cpu.probabilities(images_NCHW)
        assert gpu.probabilities(images_NCHW) == pytest.approx(expected_NK, abs=1e-5)
    SelfTest.of(cpu).check(gpu)
