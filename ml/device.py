"""Where to compute."""

import os
import platform

import torch

from ml.errors import BadConfig
from ml.memory import keep_freed_memory


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


def _is_available(name: str) -> bool:
    if name == "cuda":
        return torch.cuda.is_available()
    if name == "mps":
        return torch.backends.mps.is_available()
    return name == "cpu"
