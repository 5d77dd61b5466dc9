"""Images of a data set as batches of tensors.

Each image is decoded and resized once, into a file of uint8 that the system pages in and out: an epoch costs no
decoding, and 60,000 images do not fill the memory.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml import images
from ml.images import InputSpec
from ml.manifest import ImageRow, Manifest
from ml.pack import PackReader
from ml.share import ALONE, Share

_AHEAD = 2  # batches that are read before they are asked for
_CHUNK = 256  # decoded between two looks at the clock: small enough that a cancelled run stops within seconds


@dataclass(frozen=True)
class Picked:
    """Some images of a file, indexed as an array of them would be: only those that are asked for are read."""

    images_NCHW: NDArray[np.uint8]  # all of the file
    places_N: NDArray[np.int64]

    @classmethod
    def of(cls, path: Path, places_N: NDArray[np.int64]) -> "Picked":
        return cls(np.load(path, mmap_mode="r"), places_N)

    def __len__(self) -> int:
        return len(self.places_N)

    def __getitem__(self, chosen_N: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.images_NCHW[self.places_N[chosen_N]]


@dataclass(frozen=True)
class Cached:
    """Decoded images and their class indices, in the order of the rows they came from."""

    images_NCHW: NDArray[np.uint8] | Picked
    labels_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels_N)


def cache(
    manifest: Manifest,
    rows: Sequence[ImageRow],
    packs: PackReader,
    spec: InputSpec,
    path: Path,
    report: Callable[[int], None] = lambda done: None,
) -> Cached:
    """The rows' images, decoded into a new file at `path`, and their classes."""
    labels_N = np.array([manifest.label_index(row.label) for row in rows], dtype=np.int64)
    return Cached(decode(rows, packs, spec, path, report), labels_N)


def decode(
    rows: Sequence[ImageRow],
    packs: PackReader,
    spec: InputSpec,
    path: Path,
    report: Callable[[int], None] = lambda done: None,
) -> NDArray[np.uint8]:
    """The rows' images at the network's size, in a new file at `path`; `report` hears how many are done.

    Raises OSError where the disk has no room for all of them.
    """
    shape = (len(rows), spec.channels, spec.size_px, spec.size_px)
    images_NCHW = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    _reserve(path)

    def store(index: int) -> None:
        row = rows[index]
        images_NCHW[index] = images.to_input(packs.read(row.pack, row.member), spec)

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(rows), _CHUNK):
            report(start)
            list(pool.map(store, range(start, min(start + _CHUNK, len(rows)))))
    images_NCHW.flush()
    return images_NCHW


def _reserve(path: Path) -> None:
    """Takes room on the disk for all of a sparse file: written through memory, a full disk is no error but SIGBUS."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


class Batches:
    """Pairs (images_NCHW uint8, labels_N) on the CPU; one pass for each iteration.

    With a generator the order is drawn anew in each pass and an incomplete last batch is left out (a batch of one
    has no batch statistics), unless it is the only one. Without, every image comes once, in order. With `weights_N`
    images are drawn with these weights, and with replacement. A share takes its part of each batch, all of equal size.
    Images that `mirrored_N` names are mirrored.
    """

    def __init__(
        self,
        cached: Cached,
        batch_size: int,
        generator: torch.Generator | None = None,
        weights_N: Tensor | None = None,
        share: Share = ALONE,
        mirrored_N: NDArray[np.bool_] | None = None,
    ) -> None:
        self._cached, self._share, self._mirrored_N = cached, share, mirrored_N
        self.batch_size = min(batch_size, len(cached)) // share.size * share.size
        self._generator = generator
        self._weights_N = weights_N

    def __len__(self) -> int:
        n = len(self._cached)
        return n // self.batch_size if self._generator else -(-n // self.batch_size)

    def orders(self) -> list[NDArray[np.int64]]:
        """The places of the images of each batch of one pass; the generator draws them at once."""
        n = len(self._cached)
        if self._generator is None:
            order_N = np.arange(n)
        elif self._weights_N is None:
            order_N = torch.randperm(n, generator=self._generator).numpy()
        else:
            order_N = torch.multinomial(self._weights_N, n, replacement=True, generator=self._generator).numpy()
        # Sorted within the batch, so that the file is read forwards; the order inside a batch changes nothing.
        batches = [np.sort(order_N[at * self.batch_size : (at + 1) * self.batch_size]) for at in range(len(self))]
        return [self._share.of(batch_N) for batch_N in batches]

    def read(self, chosen_N: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """The batch of the images at these places."""
        images_NCHW, labels_N = self._cached.images_NCHW[chosen_N], self._cached.labels_N[chosen_N]
        if self._mirrored_N is not None:
            turned_N = self._mirrored_N[chosen_N]
            images_NCHW[turned_N] = images_NCHW[turned_N, :, :, ::-1]
        return torch.from_numpy(images_NCHW), torch.from_numpy(labels_N)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from map(self.read, self.orders())


def resident(batches: Batches, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """One pass on the device. The next batch is read while the device works; on CUDA it also travels meanwhile."""
    is_cuda = device.type == "cuda"

    def fetch(chosen_N: NDArray[np.int64]) -> tuple[Tensor, ...]:
        return tuple(part.pin_memory() if is_cuda else part for part in batches.read(chosen_N))

    with ThreadPoolExecutor(1) as reader:
        orders = batches.orders()
        waiting = deque(reader.submit(fetch, chosen_N) for chosen_N in orders[:_AHEAD])
        for chosen_N in [*orders[_AHEAD:], *[None] * len(waiting)]:
            images_NCHW, labels_N = waiting.popleft().result()
            if chosen_N is not None:
                waiting.append(reader.submit(fetch, chosen_N))
            yield images_NCHW.to(device, non_blocking=True), labels_N.to(device, non_blocking=True)
