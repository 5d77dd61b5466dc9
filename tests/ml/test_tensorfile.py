"""Files of tensors, good and hostile."""

import contextlib
from pathlib import Path

import pytest
import torch

from ml import tensorfile
from ml.tensorfile import UnreadableTensors


def test_tensors_and_plain_values_come_back(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2), "b": [1, None, "x"]}, tmp_path / "file.pt")
    content = tensorfile.read(tmp_path / "file.pt")
    assert content["a"].tolist() == [1, 1]
    assert content["b"] == [1, None, "x"]


def test_no_damaged_byte_escapes_as_another_error(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    good = path.read_bytes()
    for position in range(0, len(good), 3):
        path.write_bytes(good[:position] + bytes([good[position] ^ 0xFF]) + good[position + 1 :])
        with contextlib.suppress(UnreadableTensors):
            tensorfile.read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableTensors, match=r"gone\.pt"):
        tensorfile.read(tmp_path / "gone.pt")
