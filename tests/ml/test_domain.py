"""Images that are unlike those of training get no label."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ml import domain, embedding
from ml.domain import Domain, DomainRule
from ml.serving import Predictor
from tests.ml import small_dataset, small_version
from tests.ml.small_dataset import draw

DATA = Path(os.environ.get("APP_TEST_DATA", ""))
ULTRASOUND, PHOTOGRAPHS = DATA / "breastmnist_64.npz", DATA / "cifar10-jpeg.tar.xz"
IS_THERE = ULTRASOUND.is_file() and PHOTOGRAPHS.is_file()


def fixed(folder: Path, **shape: int) -> tuple[Predictor, DomainRule]:
    """A predictor of discs that knows its domain."""
    data = small_dataset.build(folder / "data", **{"train": 60, "validation": 60, **shape})
    small_version.write_model(folder / "model.onnx")
    predictor = Predictor(folder / "model.onnx", small_version.card())
    trained, validated = (
        embedding.of_split(predictor, data.manifest, data.packs, split) for split in ("train", "validation")
    )
    found = domain.fit(trained.embedding_NC, trained.look_NS, validated.embedding_NC, validated.look_NS)
    assert found is not None
    found[0].write(folder / "domain.npz")
    return Predictor(folder / "model.onnx", predictor.card, domain=Domain.read(folder / "domain.npz")), found[1]


def page_of_text() -> np.ndarray:
    page = Image.new("RGB", (300, 300), "white")
    for line in range(12):
        ImageDraw.Draw(page).text((10, 10 + 24 * line), "History: none. Findings: none. Advice: none.", fill="black")
    return np.asarray(page)


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def photograph() -> np.ndarray:
    """Colours that no detector gives."""
    across_HW = np.linspace(60, 190, 64)[None].repeat(64, axis=0)
    return np.stack([across_HW, 0.6 * across_HW, 0.3 * across_HW.T], axis=2).astype(np.uint8)


def chest_film() -> np.ndarray:
    """Two dark lungs on a bright chest."""
    film = Image.new("L", (120, 120), 200)
    for box in ((12, 10, 54, 110), (66, 10, 108, 110)):
        ImageDraw.Draw(film).ellipse(box, fill=5)
    return np.asarray(film.convert("RGB"))


NONSENSE = {
    "text": page_of_text(),
    "noise": noise(),
    "photograph": photograph(),
    "chest film": chest_film(),
    "black": np.zeros((40, 40, 3), np.uint8),
    "white": np.full((40, 40, 3), 255, np.uint8),
}


def test_nearly_all_images_of_the_kind_are_answered_as_without_a_guard(tmp_path: Path) -> None:
    predictor, rule = fixed(tmp_path)
    images = [draw(number % 2 == 1, 32, 1000 + number) for number in range(100)]
    answers = predictor.answers(images)
    assert sum(answer.in_domain is True for answer in answers) >= 95
    assert (rule.n, rule.within >= 0.95) == (60, True)
    plain = Predictor(tmp_path / "model.onnx", predictor.card).answers(images)
    for guarded, answer in zip(answers, plain, strict=True):
        told = {"in_domain": True, "distances": guarded.distances}
        assert not guarded.in_domain or guarded == answer.model_copy(update=told)


def test_an_answer_tells_both_distances_in_parts_of_their_limits_and_the_card_those_of_validation(
    tmp_path: Path,
) -> None:
    predictor, rule = fixed(tmp_path)
    usual, foreign = predictor.answers([draw(True, 32, 1000), noise()])
    assert max(usual.distances) <= 1 < max(foreign.distances)
    assert "distances" not in usual.model_dump()
    assert rule.distances is not None
    kept_2N = np.array([rule.distances.embedding, rule.distances.look])
    assert kept_2N.shape == (2, rule.distances.n)
    assert rule.n == 60
    assert 0.5 < kept_2N.max() <= 1.5
    assert Predictor(tmp_path / "model.onnx", predictor.card).answer(noise()).distances == ()


@pytest.mark.parametrize("kind", NONSENSE)
def test_an_image_of_another_kind_gets_no_label(tmp_path: Path, kind: str) -> None:
    answer = fixed(tmp_path)[0].answer(NONSENSE[kind])
    assert (answer.in_domain, answer.label, answer.decision, answer.probability) == (False, None, None, None)
    assert (answer.abstained, answer.probabilities) == (True, {})


@pytest.mark.slow
@pytest.mark.skipif(not IS_THERE, reason=f"APP_TEST_DATA has no {ULTRASOUND.name} and {PHOTOGRAPHS.name}")
def test_real_cats_get_no_label_and_nearly_all_real_ultrasound_does(tmp_path: Path) -> None:
    from benchmarks._foreign import photographs
    from benchmarks.domain import guarded, share_refused  # with torch, which the other tests do without

    predictor, own = guarded(ULTRASOUND, "cnn-quick", 0, tmp_path)
    cats = photographs(PHOTOGRAPHS, cats=150)
    assert share_refused(predictor, cats["cats"]) >= 0.99
    assert share_refused(predictor, cats["cats in grey"]) >= 0.95
    assert len(own["test"]) > 100
    assert share_refused(predictor, own["test"]) <= 0.05
    assert share_refused(predictor, own["validation"]) <= 0.05


def test_a_foreign_image_has_nothing_to_explain(tmp_path: Path) -> None:
    answer, map_HW = fixed(tmp_path)[0].explain(noise())
    assert answer.in_domain is False
    assert map_HW.max() == 0


@pytest.mark.parametrize(("trained", "validated"), [(30, 19), (0, 30)])
def test_too_few_images_promise_nothing_so_there_is_no_guard(trained: int, validated: int) -> None:
    some_NC = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    assert domain.fit(some_NC[:trained], some_NC[:trained], some_NC[:validated], some_NC[:validated]) is None


def test_of_very_many_training_images_some_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain, "MOST_REFERENCES", 4)
    some_NC = np.random.default_rng(0).normal(size=(25, 3)).astype(np.float32)
    found = domain.fit(some_NC, some_NC, some_NC, some_NC)
    assert found is not None
    assert len(found[0].reference_MC) == 4
