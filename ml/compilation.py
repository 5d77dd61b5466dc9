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
from ml.progress import EpochResult

log = logging.getLogger(__name__)
_LONG_S = 600  # of the rest of a run: then the minute that is spent on trying is little


class Compilation:
    """Which epochs of a run on one device are compiled."""

    def __init__(self, config: TrainConfig, network: nn.Module, device: torch.device) -> None:
        """Raises BadConfig where compiled steps were asked for and cannot be had."""
        self._wanted, self._epochs = config.compile, config.epochs
        self._network: nn.Module = network
        self._compiled: nn.Module = network
        self._tries = self._wanted == "on" or (self._wanted == "auto" and device.type == "cuda")
        self._rates: dict[bool, list[float]] = {False: [], True: []}  # is compiled -> images/s of each epoch
        self._left_s = 0.0
        if self._tries and (missing := _missing(device)):
            if self._wanted == "on":
                raise BadConfig(f"Compiled steps need {missing} where the training runs. Install it, or choose 'off'.")
            self._tries = False
        if self._tries:
            mode = "reduce-overhead" if device.type == "cuda" else "default"
            self._compiled = cast(nn.Module, torch.compile(network, mode=mode, dynamic=False))

    def learner(self) -> nn.Module:
        """What the next epoch trains: the network, or its programs, on the same weights."""
        return self._compiled if self._is_next() else self._network

    def note(self, result: EpochResult) -> None:
        """Hears how fast the epoch was."""
        self._rates[self._is_next()].append(result.images_per_s)
        self._left_s = (self._epochs - result.number) * result.seconds

    def _is_next(self) -> bool:
        plain, compiled = self._rates[False], self._rates[True]
        if not self._tries or self._wanted == "on":
            return self._tries
        if not plain or not compiled:
            return bool(plain) and self._left_s > _LONG_S
        return len(compiled) == 1 or compiled[-1] > plain[-1]  # the first of them wrote the programs


def _missing(device: torch.device) -> str | None:
    """What compiling needs and is not here."""
    if not any(shutil.which(name) for name in ("g++", "clang++")):
        return "a C++ compiler (g++)"
    if device.type == "cuda" and not torch.utils._triton.has_triton():
        return "Triton, which comes with PyTorch for CUDA,"
    return None
