"""The smaller variant: what it says is close, it explains itself, and it is offered only where it loses little."""

import logging
from pathlib import Path

import numpy as np
import pytest

from ml import domain, embedding, evaluation, images, quantization
from ml.decisions import OperatingPoint
from ml.self_test import SelfTest
from ml.serving import Predictor
from ml.variants import Measured, Variants
from tests.ml import small_dataset, small_version


def test_a_smaller_variant_says_nearly_the_same_and_explains_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = small_dataset.build(tmp_path / "data", train=24, validation=20)
    point = OperatingPoint(threshold=0.5)
    card = small_version.write(tmp_path, small_version.card().model_copy(update={"network": "resnet18"}))
    exact = Predictor(tmp_path / "model.onnx", card)
    asked = (data.manifest, data.packs)
    validated = evaluation.evaluate_split(exact, *asked, "validation", point, lambda *_: None)
    trained, seen = (embedding.of_split(exact, *asked, split) for split in ("train", "validation"))
    guard, _ = domain.fit(trained.embedding_NC, trained.look_NS, seen.embedding_NC, seen.look_NS)
    found = quantization.add(exact, *asked, tmp_path, validated, point, guard)
    assert [(one.variant, one.auc, one.accuracy, one.within) for one in found.measured] == [
        ("float32", 1, 1, 1),
        ("int8", 1, 1, 1),
    ]
    assert (found.n, found.refused_because) == (20, None)
    smaller = Predictor(tmp_path / "model.int8.onnx", card, variant="int8")
    images_NCHW = np.random.default_rng(0).integers(0, 230, (16, 3, 32, 32), np.uint8)
    said, again = exact.see(images_NCHW), smaller.see(images_NCHW)
    assert 0 < np.abs(said.probabilities_NK - again.probabilities_NK).max() < 0.05
    assert smaller.explain(images_NCHW[0].transpose(1, 2, 0))[1] == pytest.approx(
        exact.explain(images_NCHW[0].transpose(1, 2, 0))[1], abs=0.05
    )
    SelfTest.read(tmp_path / "self_test.int8.npz").check(smaller)
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_network_that_gains_nothing_has_one_variant(tmp_path: Path) -> None:
    data = small_dataset.build(tmp_path / "data")
    described = small_version.card().model_copy(update={"network": "mobilenet_v3_small"})
    exact = Predictor(tmp_path / "model.onnx", small_version.write(tmp_path, described))
    validated = evaluation.evaluate_split(exact, data.manifest, data.packs, "validation", None, lambda *_: None)
    assert quantization.add(exact, data.manifest, data.packs, tmp_path, validated, None, None) is None
    assert not (tmp_path / "model.int8.onnx").exists()


def test_speed_is_that_of_validation_images_each_in_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = small_dataset.build(tmp_path / "data", validation=6)
    exact = Predictor(tmp_path / "model.onnx", small_version.write(tmp_path))
    seen: list[bytes] = []
    monkeypatch.setattr(Predictor, "probabilities", lambda self, batch_NCHW: seen.append(batch_NCHW.tobytes()))
    images_NCHW = quantization._timed(exact, data.manifest, data.packs)
    speeds = quantization.images_per_s([exact, exact], images_NCHW)
    assert min(speeds) > 0
    validation = data.manifest.of_split("validation")
    given = {images.to_input(data.packs.read(row.pack, row.member), exact.card.input).tobytes() for row in validation}
    assert set(seen) == given
    assert seen[::2] == seen[1::2]  # the same image for both


def measured(**values: float | None) -> Measured:
    facts = {"variant": "int8", "size_mb": 1.0, "accuracy": 0.9, "auc": 0.95, "images_per_s": 10.0}
    return Measured(**{**facts, **values})


@pytest.mark.parametrize(
    ("lost", "because"),
    [
        ({"auc": 0.9451, "accuracy": 0.8901}, None),
        ({"auc": 0.9449}, "0.0051 of the auc"),
        ({"accuracy": 0.8899}, "0.0101 of the accuracy"),
        ({"auc": None}, "all of the auc"),
        ({"within": 0.94}, "94.0% of the validation images"),
    ],
)
def test_a_variant_is_refused_where_it_loses_too_much(lost: dict[str, float | None], because: str | None) -> None:
    found = Variants.of(100, [measured(variant="float32"), measured(**lost)]).refused_because
    assert (because is None) == (found is None)
    assert because is None or because in str(found)
