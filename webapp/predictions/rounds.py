"""Rounds of the model: all images of one process that wait for it at the same time are answered by one run.

On a processor a run of four costs about what four runs cost, and each step stays in the cache of its core: as many
images are decoded at a time, and as many runs go on, as this process has cores for itself. Threads beyond that wait
here, and cost nothing: the pixels of so many images, and no more, are in memory at once. A map is made of one image
at a time, in the same lanes.
On a GPU one run goes on at a time, of all images that are decoded by then.
"""

import itertools
import os
import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from flask import Flask, current_app
from numpy.typing import NDArray

from ml import explain, images
from ml.serving import Answer, Predictor

MOST_AT_ONCE = 8


@dataclass(eq=False, slots=True)
class _Asked:
    """An image that waits, and then what became of it."""

    predictor: Predictor
    input_CHW: NDArray[np.uint8]
    decode_s: float
    model_s: float = 0.0
    outcome: Answer | Exception | None = None

    def answer(self) -> tuple[Answer, dict[str, float]]:
        if not isinstance(self.outcome, Answer):
            raise self.outcome or RuntimeError("the round ended without an outcome")
        return self.outcome, {"decode": self.decode_s, "model": self.model_s}


class _Runs:
    """Runs of the model, one at a time."""

    def __init__(self) -> None:
        self._running = threading.Lock()
        self._waiting: deque[_Asked] = deque()

    def answer(self, asked: _Asked) -> None:
        """Returns when the image has its outcome."""
        self._waiting.append(asked)
        with self._running:  # whoever gets here first answers all who wait; the others find it done
            while asked.outcome is None:
                self._run()

    def explain(self, predictor: Predictor, input_CHW: NDArray[np.uint8]) -> tuple[Answer, NDArray[np.float32], float]:
        """The answer and the map of one image, and the seconds that they took."""
        with self._running:
            started_s = time.perf_counter()
            answer, map_HW = predictor.explained(input_CHW)
            return answer, map_HW, time.perf_counter() - started_s

    def _run(self) -> None:
        """Answers the longest waiting, and those behind it that ask the same version."""
        together = [self._waiting.popleft()]
        while self._waiting and len(together) < MOST_AT_ONCE and self._waiting[0].predictor is together[0].predictor:
            together.append(self._waiting.popleft())
        started_s = time.perf_counter()
        try:
            answers = together[0].predictor.answers_of(np.stack([asked.input_CHW for asked in together]))
        except Exception as error:
            if len(together) > 1:
                _alone(together)
            else:
                together[0].outcome = error
        else:
            model_s = time.perf_counter() - started_s
            for asked, answer in zip(together, answers, strict=True):
                asked.model_s, asked.outcome = model_s, answer


def _alone(together: list[_Asked]) -> None:
    """Answers each by itself, so that an image that the model cannot bear is the fault of no other."""
    for asked in together:
        try:
            (asked.outcome,) = asked.predictor.answers_of(asked.input_CHW[None])
        except Exception as error:  # raised again for whoever asked: nobody may wait for an outcome in vain
            asked.outcome = error


class _Lane:
    """What one core does: one image is decoded at a time."""

    def __init__(self, of_gpu: _Runs) -> None:
        self._decoding, self._runs, self._of_gpu = threading.Lock(), _Runs(), of_gpu

    def answer(self, predictor: Predictor, data: bytes) -> tuple[Answer, dict[str, float]]:
        with self._decoding:
            started_s = time.perf_counter()
            input_CHW = images.read_input(data, predictor.card.input)
            asked = _Asked(predictor, input_CHW, time.perf_counter() - started_s)
        self._runs_of(predictor).answer(asked)
        return asked.answer()

    def explain(self, predictor: Predictor, data: bytes) -> tuple[Answer, bytes | None, dict[str, float]]:
        with self._decoding:
            started_s = time.perf_counter()
            input_CHW, (width, height) = images.read_sized(data, predictor.card.input)
            decode_s = time.perf_counter() - started_s
        answer, map_HW, model_s = self._runs_of(predictor).explain(predictor, input_CHW)
        heatmap_png = None if answer.label is None else explain.overlay_png(map_HW, width, height)
        return answer, heatmap_png, {"decode": decode_s, "model": model_s}

    def thumbnail(self, data: bytes, side_px: int) -> bytes:
        with self._decoding:
            return images.thumbnail(images.decode(data), side_px)

    def _runs_of(self, predictor: Predictor) -> _Runs:
        return self._of_gpu if predictor.device == "cuda" else self._runs


class Rounds:
    """The lanes of one process, taken in turn; each runs the model by itself, but for the one of a GPU."""

    def __init__(self, lanes: int) -> None:
        of_gpu = _Runs()
        self._lanes = [_Lane(of_gpu) for _ in range(lanes)]
        self._next = itertools.count()

    def answer(self, predictor: Predictor, data: bytes) -> tuple[Answer, dict[str, float]]:
        """What the version says of an image file, and the seconds of each stage.

        Raises BadImage, BadArtifact, DeviceFault.
        """
        return self._lane().answer(predictor, data)

    def explain(self, predictor: Predictor, data: bytes) -> tuple[Answer, bytes | None, dict[str, float]]:
        """The same, with an overlay (PNG) of where the version looked, if it has a label for the image.

        Raises BadImage, BadArtifact, DeviceFault, NoExplanation.
        """
        return self._lane().explain(predictor, data)

    def thumbnail(self, data: bytes, side_px: int) -> bytes:
        """The image at a smaller size, as JPEG. Raises BadImage."""
        return self._lane().thumbnail(data, side_px)

    def _lane(self) -> _Lane:
        return self._lanes[next(self._next) % len(self._lanes)]


def init_app(app: Flask) -> None:
    processes = app.extensions["settings"].web_concurrency
    app.extensions["rounds"] = Rounds(max(1, _cores() // processes))


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rounds() -> Rounds:
    found: Rounds = current_app.extensions["rounds"]
    return found
