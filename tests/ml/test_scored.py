"""Kept answers of an evaluation."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ml import scored
from ml.errors import BadArtifact


def _write(path: Path) -> Path:
    scored.write(path, ("benign", "malignant"), [(3, (0.25, 0.75)), (30, (1.0, 0.0))])
    return path


@pytest.mark.parametrize(
    ("number", "said"),
    [(3, {"benign": 0.25, "malignant": 0.75}), (30, {"benign": 1.0, "malignant": 0.0}), (0, None), (31, None)],
)
def test_an_answer_is_found_by_the_number_of_its_row(
    tmp_path: Path, number: int, said: dict[str, float] | None
) -> None:
    assert scored.find(_write(tmp_path / "scored"), number) == said


@pytest.mark.parametrize(
    "harm", [lambda data: data[:-9], lambda data: b"", lambda data: b"plain text", lambda data: data[:20] + data[24:]]
)
def test_damaged_answers_are_refused(tmp_path: Path, harm: Callable[[bytes], bytes]) -> None:
    path = _write(tmp_path / "scored")
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(BadArtifact, match="kept answers 'scored'"):
        scored.find(path, 999)


def test_all_answers_come_back_as_arrays(tmp_path: Path) -> None:
    answers = scored.read(_write(tmp_path / "scored"))
    assert answers.classes == ("benign", "malignant")
    assert answers.number_N.tolist() == [3, 30]
    assert answers.probabilities_NK.tolist() == [[0.25, 0.75], [1.0, 0.0]]
    scored.write(tmp_path / "none", ("a", "b", "c"), [])
    assert scored.read(tmp_path / "none").probabilities_NK.shape == (0, 3)


@pytest.mark.parametrize(
    "harm", [lambda data: data[:-9], lambda data: b"", lambda data: b"plain text", lambda data: data[:20] + data[24:]]
)
def test_damaged_answers_are_refused_as_a_whole(tmp_path: Path, harm: Callable[[bytes], bytes]) -> None:
    path = _write(tmp_path / "scored")
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(BadArtifact, match="kept answers 'scored'"):
        scored.read(path)
