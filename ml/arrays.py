"""Arrays in one file: an ordinary NPZ, in which equal arrays give equal bytes."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.errors import BadArtifact

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a ZIP can hold


def write(path: Path, **arrays: NDArray[Any]) -> None:
    """The arrays by their names; `numpy.load` reads them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            with file.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def read(path: Path, *names: str) -> tuple[NDArray[Any], ...]:
    """The arrays of these names. Raises BadArtifact where the file is damaged or lacks one."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return tuple(file[name] for name in names)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise BadArtifact(f"The arrays '{path.name}' cannot be read: {str(error) or type(error).__name__}.") from error
