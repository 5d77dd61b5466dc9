"""The small grey pictures by which images are compared, kept on disk: 60,000 of them would fill 60 MB of memory."""

import os
import tempfile
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
BYTES = SIDE**2
_BUFFER_BYTES = 1 << 20

Fingerprint = NDArray[np.uint8]


def fingerprint(image_HWC: NDArray[np.uint8]) -> Fingerprint:
    """The grey picture in 32 x 32 pixels, shape (1024,)."""
    grey = Image.fromarray(image_HWC).convert("L")
    if grey.size != (SIDE, SIDE):
        grey = grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(grey).reshape(-1)


class Fingerprints:
    """Fingerprints in the order in which they came, in a file without a name in `folder`; threads may share it."""

    def __init__(self, folder: Path | None = None) -> None:
        # Closed at the end of the block.
        self._file = tempfile.TemporaryFile(buffering=_BUFFER_BYTES, dir=folder)  # noqa: SIM115
        self._count = 0

    @classmethod
    def of(cls, prints_NP: NDArray[np.uint8]) -> Self:
        """The given fingerprints, shape (N, 1024)."""
        kept = cls()
        for print_P in prints_NP:
            kept.add(print_P)
        return kept

    def add(self, print_P: Fingerprint) -> None:
        self._file.write(print_P.tobytes())
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def block(self, start: int, stop: int) -> NDArray[np.uint8]:
        """The fingerprints from `start` up to `stop`, shape (B, 1024)."""
        self._file.flush()
        stop = min(stop, self._count)
        data = os.pread(self._file.fileno(), (stop - start) * BYTES, start * BYTES)
        return np.frombuffer(data, np.uint8).reshape(-1, BYTES)

    def take(self, indices_M: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The fingerprints of these numbers, shape (M, 1024)."""
        prints_MP = np.empty((len(indices_M), BYTES), np.uint8)
        for place, index in enumerate(indices_M.tolist()):
            prints_MP[place] = self.block(index, index + 1)[0]
        return prints_MP

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
