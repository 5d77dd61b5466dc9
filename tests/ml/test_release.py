"""From a finished run to a version that can be served."""

from pathlib import Path

import numpy as np
import pytest

from ml import networks
from ml.artifact import Card
from ml.code_version import code_version
from ml.config import TrainConfig
from ml.embedding import Embeddings
from ml.errors import Cancelled
from ml.release import release
from ml.self_test import NAMES as SELF_TESTS
from ml.self_test import SelfTest
from ml.serving import Predictor
from ml.training import Fitted
from tests.ml import small_dataset

CONFIG = TrainConfig(image_size_px=32, epochs=1)


def _fitted() -> Fitted:
    return Fitted(networks.build(CONFIG, 2).eval(), [], 1, "cpu", "float32", 0, 1.0)


def test_a_release_tells_of_its_export_and_then_of_each_split(tmp_path: Path) -> None:
    data = small_dataset.build(tmp_path / "data", validation=5, test=6)
    told: list[tuple[int, int]] = []
    folder = tmp_path / "version"
    made = release(
        _fitted(),
        CONFIG,
        data.manifest,
        data.packs,
        folder,
        "First",
        "Discs",
        lambda done, total: told.append((done, total)),
    )
    splits = [(0, 5), (5, 5), (0, 6), (6, 6), (0, 0), (0, 0)]
    smaller = [(0, 0), (0, 0), (0, 5), (5, 5)]  # calibrated, then scored on validation
    assert told == [(0, 0), (0, 0), (0, 0), *splits, *smaller]
    assert Card.read(folder) == made.card
    assert set(SELF_TESTS.values()) <= set(made.card.files)
    made.card.verify(folder)
    SelfTest.read(folder / "self_test.npz").check(Predictor(folder / "model.onnx", made.card))


def test_a_release_keeps_the_training_images_as_the_network_sees_them(tmp_path: Path) -> None:
    data = small_dataset.build(tmp_path / "data", train=6)
    unguarded = CONFIG.model_copy(update={"domain_guard": False})
    made = release(_fitted(), unguarded, data.manifest, data.packs, tmp_path / "version", "First", "Discs")
    assert "domain.npz" not in made.card.files
    assert made.card.domain is None
    kept = Embeddings.read(tmp_path / "version" / "embeddings.npz")
    assert kept.number_N.tolist() == list(range(6))
    assert made.tested.embedding_NC is not None
    nearest_Nk, distance_Nk = kept.nearest(made.tested.embedding_NC, 3)
    assert nearest_Nk.shape == (4, 3)
    assert (np.diff(distance_Nk) >= 0).all()
    assert list(made.card.maps.shuffled) == ["head", "stages.2", "stages.1", "stages.0", "stem"]


def test_a_release_fixes_on_validation_what_was_asked_for(tmp_path: Path) -> None:
    data = small_dataset.build(tmp_path / "data", validation=20, test=6)
    chosen = {"operating_target": "sensitivity", "operating_value": 0.8, "abstention": "conformal"}
    config = CONFIG.model_copy(update={**chosen, "abstention_level": 0.95})
    card = release(
        _fitted(), config, data.manifest, data.packs, tmp_path / "version", "First", "Discs", dataset_number=2
    ).card
    assert card.dataset.number == 2
    assert card.code == code_version()
    assert card.operating_point is not None
    assert (card.operating_point.target, card.operating_point.chosen_on) == ("sensitivity >= 0.80", "validation")
    assert [(rule.alpha, rule.n, rule.fitted_on) for rule in card.conformal] == [
        (0.10, 20, "validation"),
        (0.05, 20, "validation"),
    ]
    assert (tmp_path / "version" / "domain.npz").exists()
    assert "domain.npz" in card.files
    assert card.domain
    assert card.domain.distances
    assert (card.domain.distances.n, len(card.domain.distances.embedding)) == (20, 20)
    assert card.abstention
    assert (card.abstention.policy.threshold, card.abstention.policy.n) == (card.conformal[1].threshold, 20)
    assert (card.abstention.validation.n, card.abstention.test.n) == (20, 6)
    assert card.reference
    assert len(card.reference.scores) == sum(card.reference.answered.values()) == 20
    assert card.metrics
    assert [one.threshold for one in card.metrics.conformal] == [rule.threshold for rule in card.conformal]
    assert card.metrics.operating_point == card.operating_point


def test_a_release_can_be_stopped_during_its_export(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise Cancelled

    data = small_dataset.build(tmp_path / "data")
    with pytest.raises(Cancelled):
        release(_fitted(), CONFIG, data.manifest, data.packs, tmp_path / "version", "First", "Discs", stop)
    assert not (tmp_path / "version" / "model.onnx").exists()
