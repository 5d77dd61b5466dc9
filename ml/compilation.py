"""Compiled steps: `torch.compile` writes a program for each way through the network, forwards and backwards.

On a GPU the programs are replayed as CUDA graphs. Writing them takes half a minute and more, and where the time of a
step goes into large convolutions nothing is gained: on processors it was a loss (docs/training.md). So `auto` tries it
on a GPU only, where the rest of the run is long, and goes on with what was faster there.
"""

import logging
import shutil
from typing import cast

import torch
from torch import nn

from ml.config import TrainConfig
from ml.errors import BadConfig
from ml.networks import Network
from ml.progress import EpochResult

log = logging.getLogger(__name__)
_LEAST_CAPABILITY = (7, 0)  # that Triton writes programs for
_LONG_S = 600  # of the rest of a run: then the minute that is spent on trying is little
_PROGRAMS = 64  # of one network: one for each stage that thaws, and for each network that this process trains


def check(config: TrainConfig, network: Network, device: torch.device) -> None:
    """Raises BadConfig where compiled steps are asked for and cannot be had."""
    if config.compile != "on":
        return
    if network.has_frozen_features:
        raise BadConfig(
            "The features of a frozen backbone are computed once, which leaves no steps to compile. Choose 'off' for "
            "Compile, or let more of the network learn."
        )
    if missing := _missing(device):
        raise BadConfig(f"Compiled steps need {missing} where the training runs. Install it, or choose 'off'.")


class Compilation:
    """Which epochs of a run on one device are compiled."""

    def __init__(self, config: TrainConfig, network: Network, device: torch.device) -> None:
        self._wanted, self._epochs = config.compile, config.epochs
        self._tries = config.compile == "on" or (config.compile == "auto" and _may_pay(config, network, device))
        self._rates: dict[bool, list[float]] = {False: [], True: []}  # is compiled -> images/s of each epoch
        self._left_s = 0.0
        self._network: nn.Module = network
        self._compiled: nn.Module = network
        if self._tries:
            torch._dynamo.config.recompile_limit = _PROGRAMS
            mode = "reduce-overhead" if device.type == "cuda" else "default"
            self._compiled = cast(nn.Module, torch.compile(network, mode=mode, dynamic=False))

    def learner(self) -> nn.Module:
        """What the next epoch trains: the network, or its programs, on the same weights."""
        return self._compiled if self.is_next() else self._network

    def is_next(self) -> bool:
        """Whether the next epoch is compiled."""
        plain, compiled = self._rates[False], self._rates[True]
        if not self._tries or self._wanted == "on":
            return self._tries
        if len(plain) < 2:  # in the first of them the GPU measured which way to convolve
            return False
        if len(compiled) < 2:  # the first of them wrote the programs
            return bool(compiled) or self._left_s > _LONG_S
        return compiled[1] > plain[1]

    def note(self, result: EpochResult) -> bool:
        """Hears how fast the epoch was, and says whether it was compiled."""
        was_compiled = self.is_next()
        self._rates[was_compiled].append(result.images_per_s)
        self._left_s = (self._epochs - result.number) * result.seconds
        if was_compiled and not self.is_next():
            self._drop()
        return was_compiled

    def give_up(self, error: RuntimeError) -> nn.Module:
        """The network to go on with where a compiled step failed; where 'on' was asked for, BadConfig.

        Raises the error again where the step was not compiled, or where 'on' was asked for and memory was wanting.
        """
        if not self.is_next() or (self._wanted == "on" and isinstance(error, torch.OutOfMemoryError)):
            raise error
        log.warning("steps_not_compiled", exc_info=error)
        if self._wanted == "on":
            said = (str(error).splitlines() or [type(error).__name__])[0]
            raise BadConfig(
                f"The steps cannot be compiled: {said:.200}. The worker's log has the rest. Choose 'off' for Compile."
            ) from error
        self._tries = False
        self._drop()
        return self._network

    def _drop(self) -> None:
        """Gives back what programs hold that are used no more; CUDA graphs keep the memory of a whole step."""
        self._compiled = self._network
        torch.compiler.reset()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _may_pay(config: TrainConfig, network: Network, device: torch.device) -> bool:
    """Where stages thaw, epochs take longer and longer, and the time of one says nothing about the next."""
    has_like_steps = not network.has_frozen_features and not config.unfreeze_epochs
    return device.type == "cuda" and config.devices == 1 and has_like_steps and not _missing(device)


def _missing(device: torch.device) -> str | None:
    """What compiling needs and is not here."""
    from torch._inductor.cpp_builder import get_cpp_compiler  # a second to import
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "a C++ compiler (g++)"
    if device.type != "cuda":
        return None
    if not torch.cuda.is_available():
        return "a GPU"
    if torch.cuda.get_device_capability(device) < _LEAST_CAPABILITY:
        return f"a GPU of compute capability {'.'.join(map(str, _LEAST_CAPABILITY))} or more"
    if not ((shutil.which("gcc") or shutil.which("clang")) and torch.utils._triton.has_triton()):
        return "a C compiler (gcc) and Triton, which comes with PyTorch for CUDA,"
    return None
