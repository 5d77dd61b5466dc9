"""Images as the network sees them, and their neighbours."""

from pathlib import Path

import numpy as np
import pytest

from ml import embedding
from ml.embedding import Embeddings
from ml.evidence import Evidence
from ml.serving import Predictor
from tests.ml import small_dataset, small_version


def corners() -> Embeddings:
    return Embeddings(
        np.array([3, 5, 9]), np.array([[1, 0], [0, 1], [-1, 0]], np.float32), np.zeros((3, 7), np.float32)
    )


def test_the_nearest_come_first_by_the_angle() -> None:
    nearest_Nk, distance_Nk = corners().nearest(np.array([[0.8, 0.6], [0, 1], [-1, 0]], np.float32), 2)
    assert nearest_Nk.tolist() == [[3, 5], [5, 3], [9, 5]]
    assert distance_Nk[1:] == pytest.approx(np.array([[0, 1], [0, 1]]), abs=1e-6)


def test_fewer_images_than_asked_for_are_all_of_them_and_no_question_has_no_answer() -> None:
    assert corners().nearest(np.ones((1, 2), np.float32), 7)[0].shape == (1, 3)
    assert corners().nearest(np.zeros((0, 2), np.float32), 2)[0].shape == (0, 2)


def test_of_very_many_images_some_spread_evenly_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "MOST_IMAGES", 3)
    data = small_dataset.build(tmp_path, train=9)
    small_version.write_model(tmp_path / "model.onnx")
    found = embedding.of_split(
        Predictor(tmp_path / "model.onnx", small_version.card()), data.manifest, data.packs, "train"
    )
    assert found.number_N.tolist() == [0, 4, 8]


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    corners().write(tmp_path / "embeddings")
    maps_NHW, query_NC = np.arange(8.0).reshape(2, 2, 2), np.array([[1, 0], [0, 1]], np.float32)
    Evidence.of([4, 7], maps_NHW, query_NC, Embeddings.read(tmp_path / "embeddings")).write(tmp_path / "evidence")
    found = Evidence.read(tmp_path / "evidence")
    assert (found.place(7), found.place(5)) == (1, None)
    assert found.maps_NHW[1].tolist() == [[4, 5], [6, 7]]
    assert found.nearest_Nk.tolist() == [[3, 5, 9], [5, 3, 9]]
