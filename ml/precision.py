"""In which number type a network trains.

Two runs with one seed are the same bits only in one precision. So the one that is measured to be fastest must be a fact
about device and network, and not about what else the machine did at that moment: on a processor, where equal bits are
promised, the time of one thread is asked for, which does not count what others take. Measured are convolutions, of
which there are two kinds. On an AMD EPYC with AVX512-BF16, bfloat16 had 1.5 to 2.0 times the speed of float32 in
plain ones, forwards and backwards (40 answers beside four other busy processes), and 0.5 to 0.9 in depthwise ones; on
processors without units for it, 0.6 or less in both.
"""

import functools
import time

import torch
from torch import nn
from torch.nn import functional

from ml.errors import BadConfig

_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_HALVES = {"cpu": (torch.bfloat16,), "cuda": (torch.bfloat16, torch.float16)}  # that are tried; on MPS none
_CLEARLY = 1.2
_CONVOLUTIONS = ((64, 56), (128, 28), (256, 14))  # channels and side: those of ResNet18 at 224 px
_IMAGES = {"cpu": 2, "cuda": 64}  # enough to be busy with
_PASSES = {"cpu": 1, "cuda": 20}  # queued before the GPU is waited for: its own time counts, not that of the orders
_ROUNDS = 5


def choose(requested: str, device: torch.device, network: nn.Module) -> torch.dtype:
    """The number type of the forward pass; `auto` is the one in which the device trains such a network fastest.

    That is float32, unless a half precision is clearly faster in each kind of convolution that the network has.
    Raises BadConfig where the device does not have the precision that was requested.
    """
    if requested == "auto":
        grouped = {module.groups > 1 for module in network.modules() if isinstance(module, nn.Conv2d)}
        return _fastest(device, frozenset(grouped))
    if requested == "float16" and device.type == "cpu":
        raise BadConfig("Precision 'float16' needs a GPU; on the CPU choose 'float32', 'bfloat16' or 'auto'.")
    return _PRECISIONS[requested]


def name(dtype: torch.dtype) -> str:
    """As configurations, checkpoints and cards write it."""
    return str(dtype).removeprefix("torch.")


@functools.cache
def _fastest(device: torch.device, kinds: frozenset[bool]) -> torch.dtype:
    if device.type not in _HALVES or not kinds:
        return torch.float32
    measured = [speedups(device, is_depthwise) for is_depthwise in sorted(kinds)]
    least = {dtype: min(each[dtype] for each in measured) for dtype in _HALVES[device.type]}
    fastest, speedup = torch.float32, 1.0
    for dtype in _HALVES[device.type]:  # of two that are about as fast it is always the same one
        if least[dtype] > _CLEARLY * speedup:
            fastest, speedup = dtype, least[dtype]
    return fastest


def speedups(device: torch.device, is_depthwise: bool) -> dict[torch.dtype, float]:
    """How many times as fast as in float32 convolutions are, forwards and backwards, in each half precision.

    Takes no random numbers. The precisions take turns, and of each the fastest of several rounds counts.
    """
    dtypes = (torch.float32, *_HALVES[device.type])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rounds = [[_round_s(dtype, device, is_depthwise) for dtype in dtypes] for _ in range(_ROUNDS)]
    finally:
        torch.set_num_threads(threads)
    float32_s, *halves_s = (min(times_s) for times_s in zip(*rounds, strict=True))
    return {dtype: float32_s / seconds for dtype, seconds in zip(dtypes[1:], halves_s, strict=True)}


def _round_s(dtype: torch.dtype, device: torch.device, is_depthwise: bool) -> float:
    clock = time.thread_time if device.type == "cpu" else time.perf_counter
    total_s = 0.0
    for channels, side_px in _CONVOLUTIONS:
        groups = channels if is_depthwise else 1
        images_NCHW = torch.full((_IMAGES[device.type], channels, side_px, side_px), 0.5, device=device)
        images_NCHW = images_NCHW.contiguous(memory_format=torch.channels_last).requires_grad_()
        weight_OCHW = torch.full((channels, channels // groups, 3, 3), 0.01, device=device, requires_grad=True)
        weight_OCHW.sum().item()  # waits for a GPU
        started_s = clock()
        for _ in range(_PASSES[device.type]):
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                outputs_NOHW = functional.conv2d(images_NCHW, weight_OCHW, padding=1, groups=groups)
                sum_ = outputs_NOHW.relu().sum(dtype=torch.float32)
            sum_.backward()
        sum_.item()
        total_s += clock() - started_s
    return total_s
