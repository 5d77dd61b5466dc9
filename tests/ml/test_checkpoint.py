"""Checkpoint files, good and hostile."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
import torch

from ml import checkpoint
from ml.checkpoint import Checkpoint
from ml.errors import BadArtifact


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must never be printed",)


def _checkpoint() -> Checkpoint:
    parts = {name: {"a": 1} for name in ("run", "position", "optimizer", "scheduler", "scaler", "rng", "best")}
    return Checkpoint(model={"weight": torch.arange(3.0)}, average={}, history=[{"number": 1, "auc": None}], **parts)


def test_a_checkpoint_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    checkpoint.save(_checkpoint(), tmp_path / "checkpoint.pt")
    loaded = checkpoint.load(tmp_path / "checkpoint.pt")
    assert torch.equal(loaded.model["weight"], torch.arange(3.0))
    assert loaded.history == _checkpoint().history
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadArtifact, match=r"no checkpoint 'gone\.pt'"):
        checkpoint.load(tmp_path / "gone.pt")


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "foreign"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(_checkpoint(), path)
    if damage == "foreign":
        torch.save({"epoch": 3}, path)
    else:
        path.write_bytes({"truncated": path.read_bytes()[:400], "empty": b"", "text": b"not a checkpoint"}[damage])
    with pytest.raises(BadArtifact, match="damaged"):
        checkpoint.load(path)


@pytest.mark.parametrize("dump", [torch.save, pickle.dump])
def test_code_inside_a_checkpoint_is_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dump: Callable[[object, IO[bytes]], None]
) -> None:
    path = tmp_path / "checkpoint.pt"
    with path.open("wb") as file:
        dump({"model": _Bomb()}, file)
    with pytest.raises(BadArtifact, match="more than tensors"):
        checkpoint.load(path)
    assert capsys.readouterr().out == ""
