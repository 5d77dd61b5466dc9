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
_LONG_S = 600  # of the rest of a run: then the minute that is spent on trying is little
_PROGRAMS = 64  # of one network: two sizes of batches for each stage that thaws


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

    def __init__(self, config: TrainConfig, network: nn.Module, device: torch.device) -> None:
        self._wanted, self._epochs = config.compile, config.epochs
        self._tries = config.compile == "on" or (config.compile == "auto" and _may_pay(config, device))
        self._rates: dict[bool, list[float]] = {False: [], True: []}  # is compiled -> images/s of each epoch
        self._left_s = 0.0
        self._network, self._compiled = network, network
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
        return was_compiled

    def give_up(self, error: RuntimeError) -> nn.Module:
        """The network to go on with where its programs cannot be written or run; where 'on' was asked for, BadConfig.

        Raises the error again where no program was at fault.
        """
        if not self.is_next():
            raise error
        if self._wanted == "on":
            raise BadConfig(
                f"The steps cannot be compiled: {str(error).splitlines()[0]:.200} Choose 'off' for Compile."
            ) from error
        log.warning("steps_not_compiled", extra={"reason": f"{type(error).__name__}: {error}"[:500]})
        self._tries = False
        return self._network


def _may_pay(config: TrainConfig, device: torch.device) -> bool:
    """Where stages thaw, epochs take longer and longer, and the time of one says nothing about the next."""
    return device.type == "cuda" and config.devices == 1 and not config.unfreeze_epochs and not _missing(device)


def _missing(device: torch.device) -> str | None:
    """What compiling needs and is not here."""
    from torch._inductor.cpp_builder import get_cpp_compiler  # a second to import
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "a C++ compiler (g++)"
    if device.type == "cuda" and not (torch.utils._triton.has_triton() and (shutil.which("gcc") or shutil.which("cc"))):
        return "a C compiler (gcc) and Triton, which comes with PyTorch for CUDA,"
    return None
