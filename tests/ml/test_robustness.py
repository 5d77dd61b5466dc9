"""What becomes of the scores when images change."""

from pathlib import Path

import numpy as np
import pytest

from ml import robustness
from ml.decisions import OperatingPoint
from ml.errors import Cancelled
from ml.robustness import Outcome, Robustness
from ml.serving import Predictor
from tests.ml import small_dataset, small_version

POINT = OperatingPoint(threshold=0.5)


def measured(folder: Path, report: object = lambda done, total: None, **shape: int) -> Robustness:
    """Of a model that calls bright images malignant."""
    data = small_dataset.build(folder / "data", **shape)
    small_version.write_model(folder / "model.onnx")
    predictor = Predictor(folder / "model.onnx", small_version.card())
    return robustness.measure(predictor, data.manifest, data.packs, "test", POINT, report)  # type: ignore[arg-type]


def outcome(found: Robustness, change: str, strength: float | None) -> Outcome:
    (one,) = [one for one in found.outcomes if (one.change, one.strength) == (change, strength)]
    return one


def test_a_model_of_brightness_fails_in_the_dark_and_not_under_blur(tmp_path: Path) -> None:
    found = measured(tmp_path, test=20)
    plain, dark, blurred = (outcome(found, *of) for of in (("none", None), ("brightness", 0.6), ("blur", 0.01)))
    assert (found.n, found.of, plain.accuracy.value, plain.accuracy_moved.value) == (20, 20, 1, None)
    assert (dark.sensitivity.value, dark.specificity.value) == (0, 1)
    assert (dark.accuracy_moved.value, dark.sensitivity_moved.value) == (-0.5, -1)
    assert dark.accuracy_moved.low < -0.5 < dark.accuracy_moved.high < 0
    assert (blurred.accuracy.value, blurred.accuracy_moved.value) == (1, 0)
    assert len(found.outcomes) == 17


def test_the_same_seed_changes_images_in_the_same_way(tmp_path: Path) -> None:
    assert measured(tmp_path / "one") == measured(tmp_path / "other")


@pytest.mark.parametrize("change", robustness.STRENGTHS)
def test_a_stronger_change_changes_an_image_more(change: str) -> None:
    image_HWC = np.full((48, 48, 3), 30, np.uint8)
    image_HWC[10:20, 5:43] = 170
    strengths = [at for at in robustness.STRENGTHS[change] if change != "brightness" or at > 1]
    moved = []
    for strength in strengths:
        changed_HWC = robustness.apply(image_HWC, change, strength, np.random.default_rng(0))
        assert (changed_HWC.shape, changed_HWC.dtype) == (image_HWC.shape, np.uint8)
        moved.append(np.abs(changed_HWC.astype(float) - image_HWC).mean())
    assert moved[0] > 0
    assert moved == sorted(moved)


def test_of_very_many_images_some_spread_evenly_are_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robustness, "MOST_IMAGES", 3)
    found = measured(tmp_path, test=8)
    assert (found.n, found.of) == (3, 8)


def test_it_can_be_stopped_between_two_changes(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []

    def report(done: int, total: int) -> None:
        heard.append((done, total))
        if len(heard) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        measured(tmp_path, report)
    assert heard == [(0, 68), (4, 68), (8, 68)]
