"""Tensors and plain values from a file that torch wrote; code in it is never run."""

import pickle
import struct
import warnings
from pathlib import Path
from typing import Any

import torch


class UnreadableTensors(Exception):
    """The file is missing, damaged, or holds more than tensors and plain values."""


# What torch's restricted unpickler lets through on damaged or hostile bytes, besides its own error.
_DAMAGE = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    struct.error,
)


def read(path: Path) -> Any:
    """What `torch.save` wrote, on the CPU; raises UnreadableTensors."""
    try:
        with warnings.catch_warnings():
            # torch warns of pickles that it did not write, before it refuses them or reads them rightly.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, *_DAMAGE) as error:
        raise UnreadableTensors(f"'{path.name}' is damaged or holds more than tensors") from error
