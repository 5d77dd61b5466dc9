"""Rounds of the model: requests that wait together are one run, and each gets the answer that it would get alone."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml import images
from ml.errors import BadArtifact
from ml.images import encode_canonical
from ml.serving import Answer, Predictor
from tests.ml import small_version
from webapp.predictions.rounds import Rounds, _Asked, _Runs

GREYS = (10, 90, 110, 130, 250)


@pytest.mark.parametrize(("device", "lanes"), [("cpu", 1), ("cuda", 3)])
def test_those_who_wait_share_a_run_and_get_their_own_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, lanes: int
) -> None:
    predictor = Predictor(tmp_path / "model.onnx", small_version.write(tmp_path))
    files = [encode_canonical(np.full((24, 24, 3), grey, np.uint8)) for grey in GREYS]
    alone = [Rounds(1).answer(predictor, data)[0].probability for data in files]
    sizes, goes_on, is_running = [], threading.Event(), threading.Event()

    def slowly(self: Predictor, batch_NCHW: np.ndarray) -> list:
        sizes.append(len(batch_NCHW))
        is_running.set()
        goes_on.wait(10)
        return self.judge(self.probabilities(batch_NCHW), None)

    monkeypatch.setattr(Predictor, "answers_of", slowly)
    rounds, predictor.device = Rounds(lanes), device
    with ThreadPoolExecutor(len(files)) as pool:
        first = pool.submit(rounds.answer, predictor, files[0])
        assert is_running.wait(10)
        others = [pool.submit(rounds.answer, predictor, data) for data in files[1:]]
        runs = rounds._lanes[0]._of_gpu if device == "cuda" else rounds._lanes[0]._runs
        until_s = time.monotonic() + 10
        while len(runs._waiting) < len(others) and time.monotonic() < until_s:
            time.sleep(0.01)
        goes_on.set()
        together = [one.result(10)[0].probability for one in (first, *others)]
    assert sizes == [1, len(others)]
    assert together == pytest.approx(alone, abs=1e-6)


def test_an_image_that_the_model_cannot_bear_is_the_fault_of_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(tmp_path / "model.onnx", small_version.write(tmp_path))
    answers_of = Predictor.answers_of

    def sensitively(self: Predictor, batch_NCHW: np.ndarray) -> list:
        if batch_NCHW.max() > 200:
            raise BadArtifact("too bright")
        return answers_of(self, batch_NCHW)

    monkeypatch.setattr(Predictor, "answers_of", sensitively)
    size_px = predictor.card.input.size_px
    asked = [_Asked(predictor, np.full((3, size_px, size_px), grey, np.uint8), 0.0) for grey in GREYS]
    runs = _Runs()
    runs._waiting.extend(asked[:-1])
    runs.answer(asked[-1])  # whoever comes last finds them all waiting
    outcomes = [one.outcome for one in asked]
    assert [isinstance(outcome, Answer) for outcome in outcomes] == [True, True, True, True, False]
    with pytest.raises(BadArtifact, match="too bright"):
        asked[-1].answer()


class Peak:
    """How many are within the `with` block at once, at most."""

    def __init__(self) -> None:
        self.most, self._inside, self._lock = 0, 0, threading.Lock()

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, whose calls take a while and are counted."""

        def counted(*arguments: Any) -> Any:
            with self._lock:
                self._inside += 1
                self.most = max(self.most, self._inside)
            time.sleep(0.05)
            try:
                return function(*arguments)
            finally:
                with self._lock:
                    self._inside -= 1

        return counted


@pytest.mark.parametrize("lanes", [1, 2])
def test_whatever_is_asked_for_no_more_images_are_decoded_at_once_than_there_are_lanes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lanes: int
) -> None:
    predictor = Predictor(tmp_path / "model.onnx", small_version.write(tmp_path))
    decoding, explaining = Peak(), Peak()
    for name in ("read_sized", "decode"):  # the first is what `read_input` calls
        monkeypatch.setattr(images, name, decoding.around(getattr(images, name)))
    monkeypatch.setattr(predictor, "explained", explaining.around(predictor.explained))
    rounds, data = Rounds(lanes), encode_canonical(np.full((24, 24, 3), 90, np.uint8))
    asks = [
        lambda: rounds.explain(predictor, data),
        lambda: rounds.answer(predictor, data),
        lambda: rounds.thumbnail(data, 16),
    ]
    with ThreadPoolExecutor(18) as pool:
        asked = [pool.submit(ask) for ask in 6 * asks]
        assert all(one.result(30) for one in asked)
    assert decoding.most == lanes
    assert explaining.most <= lanes


def test_an_explained_answer_is_the_one_without_and_has_an_overlay_of_the_size_of_the_image(tmp_path: Path) -> None:
    predictor = Predictor(tmp_path / "model.onnx", small_version.write(tmp_path))
    data = encode_canonical(np.full((24, 40, 3), 90, np.uint8))
    answer, overlay_png, took_s = Rounds(1).explain(predictor, data)
    assert answer == Rounds(1).answer(predictor, data)[0]
    assert overlay_png is not None
    assert images.decode(overlay_png).shape == (24, 40, 3)
    assert all(took_s[stage] > 0 for stage in ("decode", "model"))
