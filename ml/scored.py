"""The kept answers of an evaluation: what a version said of each image that it was scored on.

Format `scored/1`: gzip-compressed JSON lines. The first is a header with the `classes`; each other line is
`[row number in the manifest, [the probability of each class]]`, in the manifest's order.
"""

import gzip
import json
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

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


def find(path: Path, number: int) -> dict[str, float] | None:
    """The probability of each class for the image in row `number`; None where it was not scored.

    Reads line by line, so it needs no memory to speak of. Raises BadArtifact where the file is damaged.
    """
    try:
        with gzip.open(path, "rb") as lines:
            header = json.loads(lines.readline(MAX_LINE_BYTES))
            if header["format"] != FORMAT:
                raise ValueError(f"the format is {header['format']!r}, not {FORMAT!r}")
            start = b"[%d," % number
            while line := lines.readline(MAX_LINE_BYTES):
                if line.startswith(start):
                    return _answer(header["classes"], line)
    except (OSError, EOFError, ValueError, TypeError, KeyError, zlib.error) as error:
        raise BadArtifact(f"The kept answers '{path.name}' cannot be read: {error or type(error).__name__}.") from error
    return None


def _answer(classes: Any, line: bytes) -> dict[str, float]:
    _, probabilities = json.loads(line)
    return {str(label): float(value) for label, value in zip(classes, probabilities, strict=True)}
