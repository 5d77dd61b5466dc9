"""A version scored on a data set through the code that serves."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml import evaluation
from ml.decisions import OperatingPoint
from ml.errors import BadConfig, Cancelled
from ml.evaluation import Evaluated
from ml.serving import Predictor
from tests.ml import small_dataset, small_version


def quiet(done: int, total: int) -> None:
    pass


def predictor(folder: Path, classes: tuple[str, ...] = small_version.CLASSES) -> Predictor:
    small_version.write_model(folder / "model.onnx", classes=len(classes))
    return Predictor(folder / "model.onnx", small_version.card(classes))


def evaluated(folder: Path, split: Any = "test", point: OperatingPoint | None = None, **sizes: int) -> Evaluated:
    dataset = small_dataset.build(folder / "dataset", **sizes)
    return evaluation.evaluate_split(predictor(folder), dataset.manifest, dataset.packs, split, point, quiet)


def test_a_rule_that_fits_has_no_errors(tmp_path: Path) -> None:
    done = evaluated(tmp_path, test=70)  # more than one batch
    assert (done.metrics.n, done.metrics.accuracy.value, done.metrics.auc.value) == (70, 1, 1)
    assert done.metrics.positive_class == "malignant"
    assert evaluation.confident_errors(done) == []


@pytest.mark.parametrize(("split", "n"), [("train", 8), ("validation", 6), ("test", 4), ("all", 18)])
def test_a_split_is_scored_or_all_of_them(tmp_path: Path, split: str, n: int) -> None:
    done = evaluated(tmp_path, split, train=8, validation=6, test=4)
    assert done.metrics.n == len(done.answers) == len(done.truth_N) == len(done.probabilities_NK) == n


@pytest.mark.parametrize(("split", "n"), [("test", 3), ("all", 15)])
def test_an_image_in_quarantine_is_not_scored(tmp_path: Path, split: Any, n: int) -> None:
    dataset = small_dataset.build(tmp_path / "dataset", train=8, validation=4, test=4)
    *others, last = dataset.manifest.rows
    manifest = dataset.manifest.model_copy(update={"rows": (*others, replace(last, quarantined=True, split="test"))})
    done = evaluation.evaluate_split(predictor(tmp_path), manifest, dataset.packs, split, None, quiet)
    assert done.metrics.n == n
    assert last.path not in {answer.path for answer in done.answers}


def test_an_answer_names_its_image(tmp_path: Path) -> None:
    done = evaluated(tmp_path, train=8, validation=4, test=4)
    first = done.answers[0]
    assert (first.number, first.path, first.truth, first.predicted) == (12, "benign/12.png", "benign", "benign")
    assert first.probability == first.probabilities["benign"] > 0.5


def test_the_operating_point_decides(tmp_path: Path) -> None:
    done = evaluated(tmp_path, point=OperatingPoint(threshold=0.0))
    assert done.metrics.confusion.matrix == ((0, 2), (0, 2))
    assert [answer.predicted for answer in done.answers] == ["malignant"] * 4


def test_the_surest_errors_come_first(tmp_path: Path) -> None:
    done = evaluated(tmp_path, point=OperatingPoint(threshold=0.0), test=12)
    errors = evaluation.confident_errors(done, n=4)
    assert len(errors) == 4
    assert {error.truth for error in errors} == {"benign"}
    sureness = [error.probability for error in errors]
    wrong = [answer.probability for answer in done.answers if answer.truth == "benign"]
    assert sureness == sorted(wrong, reverse=True)[:4]


def test_an_error_says_nothing_of_where_the_pixels_are_stored(tmp_path: Path) -> None:
    done = evaluated(tmp_path, point=OperatingPoint(threshold=0.0))
    fields = {"number", "path", "truth", "predicted", "probability", "probabilities"}
    assert evaluation.confident_errors(done)[0].model_dump().keys() == fields


def test_validation_images_choose_the_operating_point(tmp_path: Path) -> None:
    done = evaluated(tmp_path, "validation", validation=20)
    point = evaluation.choose_operating_point(done)
    assert point is not None
    positive_N = done.probabilities_NK[done.truth_N == 1, 1]
    assert done.probabilities_NK[done.truth_N == 0, 1].max() < point.threshold < positive_N.min()


def test_without_a_positive_class_there_is_no_operating_point(tmp_path: Path) -> None:
    classes = ("dark", "grey", "light")
    dataset = small_dataset.build(tmp_path / "dataset", classes=classes, validation=6)
    chosen = predictor(tmp_path, classes)
    done = evaluation.evaluate_split(chosen, dataset.manifest, dataset.packs, "validation", None, quiet)
    assert evaluation.choose_operating_point(done) is None
    assert done.metrics.average == "macro"


def test_a_split_without_images_has_empty_scores(tmp_path: Path) -> None:
    done = evaluated(tmp_path, "validation", validation=0)
    assert (done.metrics.n, done.metrics.accuracy.value, done.answers) == (0, None, [])
    assert evaluation.choose_operating_point(done) is None


def test_other_classes_are_named(tmp_path: Path) -> None:
    dataset = small_dataset.build(tmp_path / "dataset", classes=("cat", "dog"))
    with pytest.raises(BadConfig, match=r"\['benign', 'malignant'\], the data set has \['cat', 'dog'\]"):
        evaluation.evaluate_split(predictor(tmp_path), dataset.manifest, dataset.packs, "test", None, quiet)


def test_progress_is_told_batch_by_batch_and_can_stop_the_work(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def stop_after_the_first_batch(done: int, total: int) -> None:
        told.append((done, total))
        if done:
            raise Cancelled

    dataset = small_dataset.build(tmp_path / "dataset", test=2 * evaluation.BATCH_SIZE)
    with pytest.raises(Cancelled):
        evaluation.evaluate_split(
            predictor(tmp_path), dataset.manifest, dataset.packs, "test", None, stop_after_the_first_batch
        )
    assert told == [(0, 128), (64, 128)]


def test_evaluation_and_serving_say_the_same(tmp_path: Path) -> None:
    dataset = small_dataset.build(tmp_path / "dataset", test=6)
    chosen = predictor(tmp_path)
    done = evaluation.evaluate_split(chosen, dataset.manifest, dataset.packs, "test", None, quiet)
    rows = [dataset.manifest.rows[answer.number] for answer in done.answers]
    served = [chosen.answer(dataset.packs.read(row.pack, row.member)) for row in rows]
    assert [answer.label for answer in served] == [answer.predicted for answer in done.answers]
    for mine, theirs in zip(done.answers, served, strict=True):
        assert mine.probabilities == pytest.approx(theirs.probabilities, abs=1e-6)
    assert np.allclose(done.probabilities_NK.sum(axis=1), 1)
