"""Arrays in a file."""

from pathlib import Path

import numpy as np
import pytest

from ml import arrays
from ml.errors import BadArtifact


def test_equal_arrays_give_equal_bytes_that_numpy_reads(tmp_path: Path) -> None:
    some = {"first_N": np.arange(5), "second_NC": np.eye(3, dtype=np.float16)}
    for name in ("one", "other"):
        arrays.write(tmp_path / name, **some)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    (second_NC,) = arrays.read(tmp_path / "one", "second_NC")
    assert second_NC.dtype == np.float16
    with np.load(tmp_path / "one") as file:
        np.testing.assert_array_equal(file["second_NC"], second_NC)


@pytest.mark.parametrize("content", [b"", b"no arrays", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "kept").write_bytes(content)
    with pytest.raises(BadArtifact, match="'kept' cannot be read"):
        arrays.read(tmp_path / "kept", "first_N")


def test_an_array_that_is_missing_and_one_of_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "kept.npz", objects=np.array([{}], object))
    for name in ("first_N", "objects"):
        with pytest.raises(BadArtifact):
            arrays.read(tmp_path / "kept.npz", name)
