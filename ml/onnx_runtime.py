"""ONNX Runtime, imported in the one place that first tells it to keep to itself, and its sessions.

Its builds for Linux collect usage events in the user's home and send them away unless this variable stands before the
first import; `disable_telemetry_events` comes too late. A hospital's images and models are nobody's usage data.

The package `onnxruntime` computes on the processor; `onnxruntime-gpu`, in its place, on NVIDIA GPUs as well.
"""

import contextlib
import functools
import io
import logging
import os
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from ml.config import ServingDevice
from ml.errors import DeviceFault

onnxruntime.set_default_logger_severity(4)  # what goes wrong is raised; ONNX Runtime need not print it too

__all__ = ["DEVICE_ERRORS", "device_of", "errors", "offers_cuda", "onnxruntime", "session"]

log = logging.getLogger(__name__)
DEVICE_ERRORS = (
    errors.DeviceReset,
    errors.EPFail,
    errors.EngineError,
    errors.Fail,
    errors.NotImplemented,  # a GPU, or a cuDNN, that has no program for a layer
    errors.RuntimeException,
    RuntimeError,  # of a provider that cannot begin
)
_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
# TF32 would change the fourth digit of a probability. A search for the fastest algorithm would begin anew with each
# size of a batch, while requests wait. Memory in steps of what is needed: processes and versions share the GPU.
_CUDA_OPTIONS = {
    "use_tf32": "0",
    "cudnn_conv_algo_search": "HEURISTIC",
    "arena_extend_strategy": "kSameAsRequested",
}


def session(model_path: Path, threads: int, device: ServingDevice = "cpu") -> Any:
    """The graph ready to run, on `threads` of the processor (0: as many as cores) or on a GPU.

    `auto` is the GPU where the runtime can use one. Raises DeviceFault where 'cuda' was asked for and cannot be used,
    and the runtime's own errors where the graph does not load.
    """
    if device == "cuda" and not offers_cuda():
        raise DeviceFault(
            "Predictions were told to use CUDA, and the installed ONNX Runtime knows processors only. Install "
            "'onnxruntime-gpu[cuda,cudnn]' in place of 'onnxruntime', or set APP_SERVING_DEVICE=auto."
        )
    if device == "cpu" or not offers_cuda():
        return _opened(model_path, threads, [_CPU])
    reason = fault = "no NVIDIA GPU or driver is found, or not the CUDA and cuDNN that it was built for"
    _find_libraries()
    try:
        opened = _opened(model_path, threads, [(_CUDA, _CUDA_OPTIONS), _CPU])
    except DEVICE_ERRORS as error:
        opened = _opened(model_path, threads, [_CPU])  # raises where the graph is at fault
        fault = "the GPU failed while the model was loaded, as one does whose memory is full; the log has its words"
        reason = str(error)  # with the names of machine and files, which are nobody else's business
    if device_of(opened) == "cuda":
        return opened
    log.warning("cuda_not_usable", extra={"reason": reason})
    if device == "cuda":
        raise DeviceFault(
            f"Predictions were told to use CUDA, and ONNX Runtime cannot use it: {fault}. Mend that, or set "
            "APP_SERVING_DEVICE=auto."
        )
    return opened


def _opened(model_path: Path, threads: int, providers: list[Any]) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # With its fallback it would print the error, open the file again for the processor, and raise nothing.
    return onnxruntime.InferenceSession(str(model_path), sess_options=options, providers=providers, enable_fallback=0)


def offers_cuda() -> bool:
    """Whether this build of the runtime knows GPUs; whether it finds one shows when a session begins."""
    return _CUDA in onnxruntime.get_available_providers()


def device_of(opened: Any) -> str:
    """'cuda' or 'cpu': where the session computes."""
    return "cuda" if _CUDA in opened.get_providers() else "cpu"


@functools.cache
def _find_libraries() -> None:
    """Loads CUDA and cuDNN where they were installed as packages of Python; what is missing shows at the session."""
    with contextlib.redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()
