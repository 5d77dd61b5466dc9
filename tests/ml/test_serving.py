"""A version that answers."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ml.artifact import Card
from ml.decisions import OperatingPoint
from ml.errors import BadArtifact
from ml.serving import Predictor
from tests.ml import small_version
from tests.ml.small_dataset import draw


def predictor(folder: Path, card: Card | None = None, **model: float) -> Predictor:
    small_version.write_model(folder / "model.onnx", **model)  # type: ignore[arg-type]
    return Predictor(folder / "model.onnx", card or small_version.card())


def grey(value: int, height: int = 32, width: int = 32) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_the_probability_is_that_of_the_graph(tmp_path: Path) -> None:
    answer = predictor(tmp_path).answer(grey(120))
    expected = 1 / (1 + np.exp(-50 * (120 / 255 - small_version.MIDDLE)))
    assert answer.probabilities["malignant"] == pytest.approx(expected, abs=1e-5)
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert (answer.label, answer.decision, answer.probability) == (
        "malignant",
        "malignant",
        answer.probabilities["malignant"],
    )


def test_an_image_of_any_size_is_answered(tmp_path: Path) -> None:
    answers = predictor(tmp_path).answers([grey(200), grey(20, 7, 300), grey(20, 1, 1)])
    assert [answer.label for answer in answers] == ["malignant", "benign", "benign"]


def test_a_batch_is_answered_like_its_images_one_by_one(tmp_path: Path) -> None:
    chosen = predictor(tmp_path)
    images = [draw(number % 2 == 1, 40, number) for number in range(6)]
    assert [answer.label for answer in chosen.answers(images)] == ["benign", "malignant"] * 3
    for together, alone in zip(chosen.answers(images), map(chosen.answer, images), strict=True):
        assert together.probabilities == pytest.approx(alone.probabilities, abs=1e-6)


@pytest.mark.parametrize(("threshold", "label"), [(0.29, "malignant"), (0.31, "benign")])
def test_the_operating_point_decides(tmp_path: Path, threshold: float, label: str) -> None:
    point = OperatingPoint(threshold=threshold)
    chosen = predictor(tmp_path, small_version.card(operating_point=point))
    (answer,) = chosen.judge(np.array([[0.7, 0.3]], np.float32), chosen.card.operating_point)
    assert (answer.label, answer.operating_point) == (label, point)
    assert answer.probability == pytest.approx(0.3 if label == "malignant" else 0.7)


def test_of_many_classes_the_most_probable_is_named(tmp_path: Path) -> None:
    chosen = predictor(tmp_path, small_version.card(classes=("low", "middle", "high")), classes=3)
    assert [chosen.answer(grey(value)).label for value in (10, 240)] == ["low", "high"]
    assert chosen.answer(grey(10)).operating_point is None


def test_no_images_get_no_answers(tmp_path: Path) -> None:
    chosen = predictor(tmp_path)
    assert chosen.answers([]) == []
    assert chosen.probabilities(np.zeros((0, 3, 32, 32), np.uint8)).shape == (0, 2)


def test_threads_share_a_predictor(tmp_path: Path) -> None:
    chosen = predictor(tmp_path)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(chosen.answer, [grey(value) for value in range(0, 256, 5)]))
    assert answers == [chosen.answer(grey(value)) for value in range(0, 256, 5)]


def test_the_file_is_not_needed_once_it_is_loaded(tmp_path: Path) -> None:
    chosen = predictor(tmp_path)
    (tmp_path / "model.onnx").unlink()
    chosen.self_test()


@pytest.mark.parametrize("content", [b"", b"no protobuf at all", bytes(1000)])
def test_a_damaged_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(BadArtifact, match="does not load"):
        Predictor(tmp_path / "model.onnx", small_version.card())


def test_a_model_cut_short_is_refused(tmp_path: Path) -> None:
    small_version.write_model(tmp_path / "whole.onnx")
    whole = (tmp_path / "whole.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadArtifact, match=r"does not load|takes and gives"):
        Predictor(tmp_path / "model.onnx", small_version.card())


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArtifact, match="does not load"):
        Predictor(tmp_path / "model.onnx", small_version.card())


@pytest.mark.parametrize("model", [{"size_px": 64}, {"classes": 3}, {"output": "scores"}])
def test_a_model_that_is_not_the_one_of_the_card_is_refused(tmp_path: Path, model: dict[str, float]) -> None:
    with pytest.raises(BadArtifact, match="its card says"):
        predictor(tmp_path, **model)


def test_a_probability_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    chosen = predictor(tmp_path, gain=float("nan"))
    with pytest.raises(BadArtifact, match="not a number"):
        chosen.self_test()
