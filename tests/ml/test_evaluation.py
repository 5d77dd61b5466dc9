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


def test_images_of_one_patient_are_not_independent(tmp_path: Path) -> None:
    dataset = small_dataset.build(tmp_path / "dataset", train=0, validation=0, test=12)
    rows = tuple(replace(row, group=f"P{number // 4}{row.label}") for number, row in enumerate(dataset.manifest.rows))
    manifest = dataset.manifest.model_copy(update={"rows": rows})
    found = evaluation.evaluate_split(predictor(tmp_path), manifest, dataset.packs, "test", None, quiet).metrics
    assert found.intervals
    assert (found.intervals.method, found.intervals.groups) == ("cluster bootstrap", 6)
    assert found.group_level
    assert (found.group_level.n, found.group_level.auc.value) == (6, 1)
    assert len(found.per_group) == 6


def test_validation_images_reach_a_target_that_was_asked_for(tmp_path: Path) -> None:
    done = evaluated(tmp_path, "validation", validation=20)
    sensitive = evaluation.choose_operating_point(done, "sensitivity", 0.5)
    specific = evaluation.choose_operating_point(done, "specificity", 0.5)
    assert sensitive is not None
    assert specific is not None
    assert (sensitive.target, specific.target) == ("sensitivity >= 0.50", "specificity >= 0.50")
    positive_N = done.probabilities_NK[done.truth_N == 1, 1]
    assert (positive_N >= sensitive.threshold).sum() == 5
    assert specific.threshold < sensitive.threshold


def test_the_sets_of_a_versions_card_are_scored(tmp_path: Path) -> None:
    dataset = small_dataset.build(tmp_path / "dataset", validation=40, test=10)
    chosen = predictor(tmp_path)
    validated = evaluation.evaluate_split(chosen, dataset.manifest, dataset.packs, "validation", None, quiet)
    assert validated.metrics.conformal == ()
    chosen.card = chosen.card.model_copy(update={"conformal": evaluation.conformal_rules(validated)})
    tested = evaluation.evaluate_split(chosen, dataset.manifest, dataset.packs, "test", None, quiet)
    assert [one.alpha for one in tested.metrics.conformal] == [0.10, 0.05]
    assert all(one.coverage.value is not None for one in tested.metrics.conformal)
    assert evaluation.fit_temperature(validated, tested) is None  # every image is named rightly


def test_a_temperature_is_told_for_both_splits(tmp_path: Path) -> None:
    dataset = small_dataset.build(tmp_path / "dataset", validation=20, test=10)
    rows = list(dataset.manifest.rows)
    wrong = next(number for number, row in enumerate(rows) if row.split == "validation")
    rows[wrong] = replace(rows[wrong], label="malignant")
    manifest = dataset.manifest.model_copy(update={"rows": tuple(rows)})
    chosen = predictor(tmp_path)
    validated, tested = (
        evaluation.evaluate_split(chosen, manifest, dataset.packs, split, None, quiet)
        for split in ("validation", "test")
    )
    found = evaluation.fit_temperature(validated, tested)
    assert found is not None
    assert found.validation.after.log_loss < found.validation.before.log_loss  # type: ignore[operator]
    assert found.test.before.log_loss is not None
    assert found.fitted_on == "validation"


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
