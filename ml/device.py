"""Where to compute and in which precision."""

import platform

import torch

from ml.errors import BadConfig

_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose(requested: str, default: str = "auto") -> torch.device:
    """The device of a run: the one requested, else the worker's default, else CUDA, MPS or CPU, whichever is there.

    Raises BadConfig where a device was named and is absent: a run never moves silently to a slower one.
    """
    name = requested if requested != "auto" else default
    if name == "auto":
        name = next(candidate for candidate in ("cuda", "mps", "cpu") if _is_available(candidate))
    if not _is_available(name):
        present = ", ".join(candidate for candidate in ("cuda", "mps", "cpu") if _is_available(candidate))
        raise BadConfig(f"The device '{name}' is not available on this machine, which has: {present}. Choose 'auto'.")
    return torch.device(name)


def describe(device: torch.device) -> str:
    """The device in words, as written into the model card."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    if device.type == "mps":
        return f"mps: {platform.processor() or 'Apple'}"
    return f"cpu: {platform.machine()}, {torch.get_num_threads()} threads"


def choose_precision(requested: str, device: torch.device) -> torch.dtype:
    """The number type of the forward pass; `auto` is bfloat16 on a CUDA device made for it, else float32."""
    if requested == "auto":
        native = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if native else torch.float32
    if requested == "float16" and device.type == "cpu":
        raise BadConfig("Precision 'float16' needs a GPU; on the CPU choose 'float32', 'bfloat16' or 'auto'.")
    return _PRECISIONS[requested]


def _is_available(name: str) -> bool:
    if name == "cuda":
        return torch.cuda.is_available()
    if name == "mps":
        return torch.backends.mps.is_available()
    return name == "cpu"
