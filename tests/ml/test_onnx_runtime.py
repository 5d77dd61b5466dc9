"""The runtime keeps to itself, and computes where it was told to."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ml import onnx_runtime
from ml.config import ServingDevice
from ml.errors import DeviceFault
from tests.ml import small_version

PROGRAM = """
import time
import ml.serving
import ml.onnx_runtime
time.sleep(2)
"""


def test_nothing_is_collected_in_the_home_of_the_user(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment | {"HOME": str(tmp_path)}, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_onnx_runtime_is_imported_in_one_place() -> None:
    root = Path(__file__).resolve().parents[2]
    found = {
        path.relative_to(root).as_posix()
        for folder in ("ml", "webapp", "jobs")
        for path in (root / folder).rglob("*.py")
        if re.search(r"^(import|from) onnxruntime", path.read_text(), re.MULTILINE)
    }
    assert found == {"ml/onnx_runtime.py"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has an NVIDIA GPU")
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_a_session_computes_on_the_processor_where_the_runtime_knows_nothing_else(
    tmp_path: Path, device: ServingDevice
) -> None:
    small_version.write_model(tmp_path / "model.onnx")
    assert onnx_runtime.device_of(onnx_runtime.session(tmp_path / "model.onnx", 1, device)) == "cpu"


@pytest.mark.skipif(onnx_runtime.offers_cuda(), reason="this ONNX Runtime knows GPUs")
def test_cuda_is_refused_where_the_runtime_knows_only_processors(tmp_path: Path) -> None:
    small_version.write_model(tmp_path / "model.onnx")
    with pytest.raises(DeviceFault, match=r"knows processors only. Install 'onnxruntime-gpu\[cuda,cudnn\]'"):
        onnx_runtime.session(tmp_path / "model.onnx", 1, "cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has an NVIDIA GPU")
@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider'")
def test_a_gpu_that_the_runtime_cannot_use_is_said_and_replaced_only_where_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As `onnxruntime-gpu` does without a GPU: it opens the session on the processor, and says nothing."""
    small_version.write_model(tmp_path / "model.onnx")
    known = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnx_runtime.onnxruntime, "get_available_providers", lambda: known)
    with pytest.raises(DeviceFault, match="cannot use it: no NVIDIA GPU or driver"):
        onnx_runtime.session(tmp_path / "model.onnx", 1, "cuda")
    caplog.clear()
    assert onnx_runtime.device_of(onnx_runtime.session(tmp_path / "model.onnx", 1, "auto")) == "cpu"
    assert caplog.messages == ["cuda_not_usable"]


@pytest.mark.parametrize("error", [RuntimeError, onnx_runtime.errors.RuntimeException])
def test_a_gpu_that_fails_at_the_start_is_no_fault_of_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: type[Exception]
) -> None:
    """As one whose memory others have taken: the runtime raises, most often a plain RuntimeError."""
    opened = onnx_runtime._opened

    def without_memory(path: Path, threads: int, providers: list[Any]) -> Any:
        if len(providers) > 1:
            raise error("CUBLAS_STATUS_ALLOC_FAILED")
        return opened(path, threads, providers)

    small_version.write_model(tmp_path / "model.onnx")
    monkeypatch.setattr(onnx_runtime, "offers_cuda", lambda: True)
    monkeypatch.setattr(onnx_runtime, "_opened", without_memory)
    assert onnx_runtime.device_of(onnx_runtime.session(tmp_path / "model.onnx", 1, "auto")) == "cpu"
    assert [record.reason for record in caplog.records] == ["CUBLAS_STATUS_ALLOC_FAILED"]
    with pytest.raises(DeviceFault, match="cannot use it: the GPU failed while the model was loaded") as said:
        onnx_runtime.session(tmp_path / "model.onnx", 1, "cuda")
    assert "CUBLAS" not in str(said.value)  # /health tells everybody
    (tmp_path / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(onnx_runtime.errors.InvalidProtobuf):
        onnx_runtime.session(tmp_path / "model.onnx", 1, "cuda")


def test_the_runtime_does_not_open_a_session_again_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would print what the GPU said and go on with the processor, and nobody would hear of it."""
    asked = []

    def failing(self: Any, providers: list[Any], options: Any, disabled: Any = None) -> None:
        asked.append(providers)
        raise RuntimeError("CUDA failure 2: out of memory")

    monkeypatch.setattr(onnx_runtime.onnxruntime.InferenceSession, "_create_inference_session", failing)
    with pytest.raises(RuntimeError, match="CUDA failure 2"):
        onnx_runtime._opened(tmp_path / "model.onnx", 1, ["CUDAExecutionProvider", "CPUExecutionProvider"])
    assert len(asked) == 1
