"""Where to compute and in which precision."""

import functools
import os
import platform
import time

import torch
from torch.nn import functional

from ml.errors import BadConfig
from ml.memory import keep_freed_memory

_CLEARLY = 1.2
_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose(requested: str, default: str = "auto", devices: int = 1) -> torch.device:
    """The device of a run: the one requested, else the worker's default, else CUDA, MPS or CPU, whichever is there.

    Raises BadConfig where a device was named and is absent, or not as many as the run wants: a run never moves silently
    to a slower one. Processes that share the processor's cores are as many devices only where 'cpu' was requested.
    """
    name = requested if requested != "auto" else default
    if name == "auto":
        name = next(candidate for candidate in ("cuda", "mps", "cpu") if _is_available(candidate))
    if not _is_available(name):
        present = ", ".join(candidate for candidate in ("cuda", "mps", "cpu") if _is_available(candidate))
        raise BadConfig(f"The device '{name}' is not available on this machine, which has: {present}. Choose 'auto'.")
    _check_count(devices, name, requested)
    return torch.device(name)


def prepare(device: torch.device) -> None:
    """Lets CUDA measure which way to convolve is fastest for each shape, and a processor keep its memory at hand."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    if device.type == "cpu":
        keep_freed_memory()


def _check_count(devices: int, name: str, requested: str) -> None:
    present = {"cuda": torch.cuda.device_count(), "mps": 1, "cpu": os.cpu_count() or 1}[name]
    if devices > 1 and name == "cpu" and requested != "cpu":
        raise BadConfig(
            f"This machine has no GPU, and {devices} devices were asked for. Choose 1 device, or the device 'cpu' to "
            f"let up to {present} processes share its {present} cores."
        )
    if devices > present:
        what = "cores of the processor" if name == "cpu" else f"devices '{name}'"
        raise BadConfig(f"This machine has {present} {what}; {devices} were asked for. Choose at most {present}.")


def describe(device: torch.device, devices: int = 1) -> str:
    """The devices in words, as written into the model card."""
    if device.type == "cuda":
        return f"cuda: {f'{devices} × ' if devices > 1 else ''}{torch.cuda.get_device_name(device)}"
    if device.type == "mps":
        return f"mps: {platform.processor() or 'Apple'}"
    threads = f"{torch.get_num_threads()} threads" + (f" of {devices} processes" if devices > 1 else "")
    return f"cpu: {platform.machine()}, {threads}"


def choose_precision(requested: str, device: torch.device) -> torch.dtype:
    """The number type of the forward pass; `auto` is the one in which this device is measured to train fastest."""
    if requested == "auto":
        return _fastest_precision(device)
    if requested == "float16" and device.type == "cpu":
        raise BadConfig("Precision 'float16' needs a GPU; on the CPU choose 'float32', 'bfloat16' or 'auto'.")
    return _PRECISIONS[requested]


@functools.cache
def _fastest_precision(device: torch.device) -> torch.dtype:
    """float32, unless a half precision is clearly faster in a convolution, forwards and backwards.

    Processors with bfloat16 units gain a factor of two and more, others lose one of ten: the line between is wide.
    """
    candidates = {"cpu": [torch.bfloat16], "cuda": [torch.bfloat16, torch.float16]}.get(device.type, [])
    seconds = {dtype: _convolution_s(dtype, device) for dtype in [torch.float32, *candidates]}
    fastest = min(candidates, key=lambda dtype: seconds[dtype], default=torch.float32)
    return fastest if seconds[fastest] < seconds[torch.float32] / _CLEARLY else torch.float32


def _convolution_s(dtype: torch.dtype, device: torch.device) -> float:
    """Seconds of the fastest of three passes; takes no random numbers."""
    images_NCHW = torch.full((4, 64, 56, 56), 0.5, device=device).contiguous(memory_format=torch.channels_last)
    weight_OCHW = torch.full((64, 64, 3, 3), 0.01, device=device, requires_grad=True)
    times_s = []
    for _ in range(3):
        started_s = time.perf_counter()
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            sum_ = functional.conv2d(images_NCHW, weight_OCHW, padding=1).relu().float().sum()
        sum_.backward()
        sum_.item()  # waits for a GPU
        times_s.append(time.perf_counter() - started_s)
    return min(times_s)


def _is_available(name: str) -> bool:
    if name == "cuda":
        return torch.cuda.is_available()
    if name == "mps":
        return torch.backends.mps.is_available()
    return name == "cpu"
