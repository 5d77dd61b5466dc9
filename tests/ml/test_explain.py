"""Class activation maps without torch: that they are Grad-CAM says tests/ml/test_export.py."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml import explain
from ml.errors import NoExplanation
from ml.serving import Predictor
from tests.ml import small_version
from tests.ml.small_dataset import draw


def predictor(folder: Path, explains: bool = True) -> Predictor:
    small_version.write_model(folder / "model.onnx", explains=explains)
    return Predictor(folder / "model.onnx", small_version.card())


def test_the_map_of_a_bright_disc_is_brightest_in_its_middle(tmp_path: Path) -> None:
    answer, map_HW = predictor(tmp_path).explain(draw(True, 32, 0))
    assert answer.label == "malignant"
    assert map_HW.shape == (4, 4)
    assert map_HW[1:3, 1:3].min() > map_HW[0].max()


def test_cells_of_a_linear_head_add_up_to_the_logit(tmp_path: Path) -> None:
    chosen, image_HWC = predictor(tmp_path), draw(True, 32, 1)
    _, map_HW = chosen.explain(image_HWC)
    logit = float(map_HW.sum()) - 50 * small_version.MIDDLE
    assert chosen.answer(image_HWC).probabilities["malignant"] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-5)


def test_an_explained_answer_is_the_plain_answer(tmp_path: Path) -> None:
    chosen = predictor(tmp_path)
    for seed in range(3):
        assert chosen.explain(draw(seed == 1, 40, seed))[0] == chosen.answer(draw(seed == 1, 40, seed))


def test_a_version_of_an_old_release_answers_and_says_that_it_has_no_maps(tmp_path: Path) -> None:
    old = predictor(tmp_path, explains=False)
    assert old.answer(draw(True, 32, 0)).label == "malignant"
    with pytest.raises(NoExplanation, match="without class activation maps"):
        old.explain(draw(True, 32, 0))


def test_an_overlay_has_the_size_of_its_image_and_shows_only_what_speaks_for_the_class() -> None:
    map_HW = np.array([[-5.0, -5, -5], [-5, -5, 2], [-5, -5, 8]])
    overlay = Image.open(io.BytesIO(explain.overlay_png(map_HW, 90, 60))).convert("RGBA")
    assert overlay.size == (90, 60)
    alpha_HW = np.asarray(overlay)[..., 3]
    assert alpha_HW[:, :30].max() == 0
    assert alpha_HW[-1, -1] == alpha_HW.max() > 200


def test_an_overlay_is_bounded_and_one_of_nothing_is_clear() -> None:
    overlay = Image.open(io.BytesIO(explain.overlay_png(np.full((2, 2), -1.0), 4000, 10)))
    assert overlay.size == (1024, 3)
    assert np.asarray(overlay.convert("RGBA"))[..., 3].max() == 0
