"""The kept answers of an evaluation: what a version said of each image that it was scored on.

Format `scored/1`: gzip-compressed JSON lines. The first is a header with the `classes`; each other line is
`[row number in the manifest, [the probability of each class]]`, in the manifest's order.
"""

import gzip
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.errors import BadArtifact

FORMAT = "scored/1"
MAX_LINE_BYTES = 2**20
_DIGITS = 6


def write(path: Path, classes: Sequence[str], answers: Iterable[tuple[int, Iterable[float]]]) -> None:
    """Equal answers give equal bytes."""
    with path.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        packed.write(json.dumps({"format": FORMAT, "classes": list(classes)}).encode() + b"\n")
        for number, probabilities in answers:
            line = [number, [round(value, _DIGITS) for value in probabilities]]
            packed.write(json.dumps(line).encode() + b"\n")


@dataclass(frozen=True)
class Answers:
    """All answers of an evaluation, in the manifest's order: each image's row, and its probability of each class."""

    classes: tuple[str, ...]
    number_N: NDArray[np.int64]
    probabilities_NK: NDArray[np.float64]


def read(path: Path) -> Answers:
    """Everything that the file holds. Raises BadArtifact where it is damaged."""
    try:
        with gzip.open(path, "rb") as lines:
            classes = _classes(lines)
            found = [json.loads(line) for line in lines]
        numbers, probabilities = [number for number, _ in found], [said for _, said in found]
        return Answers(
            classes, np.array(numbers, np.int64), np.array(probabilities, np.float64).reshape(-1, len(classes))
        )
    except (OSError, EOFError, ValueError, TypeError, KeyError, zlib.error) as error:
        raise _damaged(path, error) from error


def find(path: Path, number: int) -> dict[str, float] | None:
    """The probability of each class for the image in row `number`; None where it was not scored.

    Reads line by line, so it needs no memory to speak of. Raises BadArtifact where the file is damaged.
    """
    try:
        with gzip.open(path, "rb") as lines:
            classes = _classes(lines)
            start = b"[%d," % number
            while line := lines.readline(MAX_LINE_BYTES):
                if line.startswith(start):
                    return _answer(classes, line)
    except (OSError, EOFError, ValueError, TypeError, KeyError, zlib.error) as error:
        raise _damaged(path, error) from error
    return None


def _classes(lines: gzip.GzipFile) -> tuple[str, ...]:
    header = json.loads(lines.readline(MAX_LINE_BYTES))
    if header["format"] != FORMAT:
        raise ValueError(f"the format is {header['format']!r}, not {FORMAT!r}")
    return tuple(map(str, header["classes"]))


def _damaged(path: Path, error: Exception) -> BadArtifact:
    return BadArtifact(f"The kept answers '{path.name}' cannot be read: {str(error) or type(error).__name__}.")


def _answer(classes: Any, line: bytes) -> dict[str, float]:
    _, probabilities = json.loads(line)
    return {str(label): float(value) for label, value in zip(classes, probabilities, strict=True)}
