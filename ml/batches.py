"""Batches: every image of an archive answered by a version, through the code that serves. Results are JSON lines."""

import gzip
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ml import images
from ml.archive import Candidate
from ml.config import Frozen
from ml.errors import BadImage
from ml.images import InputSpec
from ml.looking import Decode, is_small
from ml.serving import Answer, Predictor

BATCH_SIZE = 64
_MOST = 4  # threads: each may hold an image of 100 megapixels


class Scored(Frozen):
    """One image of an archive: an answer, or the reason why there is none."""

    path: str
    answer: Answer | None = None
    error: str | None = None


def score(predictor: Predictor, candidates: Iterable[Candidate]) -> Iterator[Scored]:
    """What the version says of each image, in their order, at the operating point of its card."""
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST)) as threads:
        for batch in _batches(candidates):
            found = list(threads.map(partial(_input, spec=predictor.card.input), [decode for _, decode in batch]))
            inputs = [one for one in found if not isinstance(one, BadImage)]
            answers = iter(predictor.answers_of(np.stack(inputs)) if inputs else ())
            for (path, _), one in zip(batch, found, strict=True):
                bad = isinstance(one, BadImage)
                yield Scored(path=path, error=str(one)) if bad else Scored(path=path, answer=next(answers))


def _batches(candidates: Iterable[Candidate]) -> Iterator[list[tuple[str, Decode]]]:
    """Images that are taken out of the archive but not decoded; a large one ends its batch, for the memory's sake."""
    batch: list[tuple[str, Decode]] = []
    for candidate in candidates:
        try:
            decode = candidate.fetch()
        except BadImage as error:
            decode = partial(_refuse, error)
        batch.append((candidate.path, decode))
        if len(batch) == BATCH_SIZE or not is_small(decode):
            yield batch
            batch = []
    if batch:
        yield batch


def _input(decode: Decode, spec: InputSpec) -> NDArray[np.uint8] | BadImage:
    try:
        return images.to_input(decode(), spec)
    except BadImage as error:
        return error


def _refuse(error: BadImage) -> NDArray[np.uint8]:
    raise error


def write(path: Path, results: Iterable[Scored]) -> None:
    """Writes the results as gzip-compressed JSON lines, in the shape that `/predict` answers in."""
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=6) as file:
        for one in results:
            said = one.answer.model_dump(mode="json") if one.answer else {"error": one.error}
            file.write(json.dumps({"filename": one.path, **said}) + "\n")


def read(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    """The lines that `write` wrote; closes the stream at their end."""
    with stream, gzip.open(stream, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)
