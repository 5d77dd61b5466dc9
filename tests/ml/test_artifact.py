"""The card of a version: written, read, and held against the files."""

import json
from pathlib import Path

import numpy as np
import pytest

from ml import conformal, temperature
from ml.artifact import FILES, Card
from ml.decisions import OperatingPoint
from ml.errors import BadArtifact
from ml.metrics import evaluate
from ml.temperature import Temperature
from tests.ml import small_version


def test_a_card_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = small_version.write(tmp_path)
    assert Card.read(tmp_path) == written
    written.verify(tmp_path)


def test_a_card_keeps_its_scores_through_json(tmp_path: Path) -> None:
    point = OperatingPoint(threshold=1 / 3)
    probabilities_NK = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
    scores = evaluate(np.array([0, 0, 1, 1]), probabilities_NK, small_version.CLASSES, "malignant", point)
    card = small_version.card(operating_point=point).model_copy(update={"metrics": scores})
    card.write(tmp_path)
    assert Card.read(tmp_path) == card
    assert Card.model_validate(card.model_dump(mode="json")) == card
    assert json.loads((tmp_path / "card.json").read_text())["metrics"]["per_class"][1]["class"] == "malignant"


def test_a_card_keeps_what_validation_fixed_and_an_older_card_has_none_of_it(tmp_path: Path) -> None:
    point = OperatingPoint(threshold=0.2, target="sensitivity >= 0.90")
    truth_N, probabilities_NK = np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    changed = temperature.compare(truth_N, probabilities_NK, 1, 1.5)
    fixed = {
        "temperature": Temperature(value=1.5, validation=changed, test=changed),
        "conformal": conformal.fit(truth_N, probabilities_NK),
    }
    card = small_version.card(operating_point=point).model_copy(update=fixed)
    card.write(tmp_path)
    assert Card.read(tmp_path) == card
    old = {name: value for name, value in card.model_dump(mode="json").items() if name not in fixed}
    del old["config"]["operating_target"], old["config"]["operating_value"]
    assert (Card.model_validate(old).temperature, Card.model_validate(old).conformal) == (None, ())


def test_a_card_of_before_code_energy_precision_and_threads_were_noted_still_loads() -> None:
    old = small_version.card().model_dump(mode="json")
    del old["code"], old["energy_j"], old["energy_of"], old["precision"], old["threads"], old["dataset"]["number"]
    card = Card.model_validate(old)
    assert (card.code, card.energy_j, card.precision, card.threads, card.dataset.number) == (None,) * 5
    assert card.energy_of == ("processors",)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_changed_is_named(tmp_path: Path, name: str) -> None:
    card = small_version.write(tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(BadArtifact, match=f"'{name}' is damaged"):
        card.verify(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    card = small_version.write(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BadArtifact, match=f"'{name}' is missing"):
        card.verify(tmp_path)


def test_a_card_without_a_hash_proves_nothing(tmp_path: Path) -> None:
    card = small_version.write(tmp_path).model_copy(update={"files": {}})
    with pytest.raises(BadArtifact, match=r"does not name 'model\.onnx'"):
        card.verify(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no card of format card/1"),
        (b"\xff\xfe\x00", "no card of format card/1"),
        (b"[1, 2]", "no card of format card/1"),
        (b'{"format": "card/2"}', "format Input should be 'card/1'"),
    ],
)
def test_a_damaged_card_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "card.json").write_bytes(content)
    with pytest.raises(BadArtifact, match=reason):
        Card.read(tmp_path)


def test_a_folder_without_a_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadArtifact, match=r"'card\.json' cannot be read: No such file"):
        Card.read(tmp_path)
