"""The state of a run at the end of an epoch, in one file that holds tensors and plain values only."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ml import tensorfile
from ml.errors import BadArtifact
from ml.tensorfile import UnreadableTensors

FORMAT = "checkpoint/2"  # to be raised when the architectures or the loop change, so that old files are refused


@dataclass(frozen=True)
class Checkpoint:
    """All that `ml.training.fit` needs to go on as if it had never stopped."""

    run: dict[str, Any]  # what makes it this run: format, configuration, classes, data set
    position: dict[str, int]  # epochs and steps done, epochs by compiled steps; threads (0 on a GPU)
    model: dict[str, Any]
    average: dict[str, Any]  # of the weights; empty where the run keeps none
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    scaler: dict[str, Any]
    rng: dict[str, Any]
    history: list[dict[str, Any]]
    best: dict[str, Any]
    energy: dict[str, float | None] = field(default_factory=dict)  # sums of `ml.energy`; empty where none were kept


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Written beside its place and moved into it, so a killed process leaves the old file or the new one."""
    partial = path.with_name(path.name + ".partial")
    torch.save(vars(checkpoint), partial)
    os.replace(partial, path)


def load(path: Path) -> Checkpoint:
    """The checkpoint in a file, on the CPU. Raises BadArtifact; code in the file is never run."""
    if not path.is_file():
        raise BadArtifact(f"There is no checkpoint '{path.name}'. Start the training anew.")
    try:
        return Checkpoint(**tensorfile.read(path))
    except (UnreadableTensors, TypeError) as error:
        message = f"The checkpoint '{path.name}' is damaged or holds more than tensors. Start the training anew."
        raise BadArtifact(message) from error
