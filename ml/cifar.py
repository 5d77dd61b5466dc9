"""The Python archives of CIFAR-10 and CIFAR-100, read without running what a pickle may ask for.

A pickle is a program that names functions. Here each name that the published files use stands for a harmless recorder
of its own, and every other name refuses the file. Source of the layout: https://www.cs.toronto.edu/~kriz/cifar.html
"""

import io
import pickle  # only the machine of `Unpickler`; `find_class` gives it nothing to call
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.config import Split
from ml.errors import BadArchive
from ml.images import ImageArray

_FOLDERS = ("cifar-10-batches-py", "cifar-100-python")
_NAMES = ("batches.meta", "meta")
_SIDE = 32
_FAULTS = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RecursionError,
    TypeError,
    UnicodeError,
    ValueError,
)


@dataclass(frozen=True)
class BatchImage:
    """One image of a batch; `coarse` is the superclass of CIFAR-100."""

    path: str
    label: str
    split: Split
    pixels: ImageArray
    coarse: str | None


def is_part(path: str) -> bool:
    """Whether the path is a batch or the list of names of such an archive."""
    folder, _, name = path.rpartition("/")
    return (folder.rpartition("/")[2] in _FOLDERS and _split_of(name) is not None) or is_names(path)


def is_names(path: str) -> bool:
    """Whether the path is the list of names."""
    folder, _, name = path.rpartition("/")
    return folder.rpartition("/")[2] in _FOLDERS and name in _NAMES


@dataclass(frozen=True)
class Names:
    """The names of the classes, and of the superclasses of CIFAR-100."""

    fine: list[str]
    coarse: list[str]

    @staticmethod
    def read(data: bytes) -> "Names":
        """The names in the file. Raises BadArchive."""
        found = _read(data, "The list of names")
        fine = found.get("label_names") or found.get("fine_label_names")
        if not isinstance(fine, list) or not fine:
            raise BadArchive("The list of names of the CIFAR archive has no classes. Download the archive again.")
        coarse = found.get("coarse_label_names") or []
        return Names([_text(name) for name in fine], [_text(name) for name in coarse])


def images_of(data: bytes, path: str, names: Names) -> Iterator[BatchImage]:
    """The images of one batch. Raises BadArchive."""
    name = path.rpartition("/")[2]
    found, split = _read(data, name), _split_of(name)
    labels = found.get("labels") or found.get("fine_labels") or []
    coarse = found.get("coarse_labels") or [None] * len(labels)
    pixels = found.get("data")
    if not isinstance(pixels, _Array) or split is None:
        raise BadArchive(f"{name} holds no array of images. Download the archive again.")
    images_NHWC = _pixels(pixels, name)
    if not len(images_NHWC) == len(labels) == len(coarse):
        raise BadArchive(f"{name} has {len(images_NHWC)} images, but {len(labels)} labels. Download the archive again.")
    for index, (label, superclass) in enumerate(zip(labels, coarse, strict=True)):
        text = _name_of(label, names.fine, name)
        above = None if superclass is None else _name_of(superclass, names.coarse, name)
        yield BatchImage(f"{name}/{text}/{index:05d}", text, split, ImageArray(images_NHWC[index]), above)


def _split_of(name: str) -> Split | None:
    if name == "train" or name.startswith("data_batch"):
        return "train"
    return "test" if name in ("test", "test_batch") else None


def _pixels(array: "_Array", name: str) -> NDArray[np.uint8]:
    expected = 3 * _SIDE * _SIDE
    if len(array.shape) != 2 or array.shape[1] != expected or len(array.data) != array.shape[0] * expected:
        raise BadArchive(f"{name} holds an array of shape {array.shape}; (N, {expected}) in bytes is needed.")
    images_NCHW = np.frombuffer(array.data, np.uint8).reshape(-1, 3, _SIDE, _SIDE)
    return np.ascontiguousarray(images_NCHW.transpose(0, 2, 3, 1))


def _name_of(label: Any, names: list[str], batch: str) -> str:
    if not isinstance(label, int) or not 0 <= label < len(names):
        raise BadArchive(f"{batch} has the label {str(label)[:20]}, for which there is no name.")
    return names[label]


def _text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def _read(data: bytes, name: str) -> dict[str, Any]:
    """The dictionary in the pickle, with texts as keys. Raises BadArchive."""
    try:
        found = _Inert(io.BytesIO(data), encoding="bytes").load()
        return {_text(key): value for key, value in found.items()}
    except _FAULTS as error:
        raise BadArchive(f"{name} of the CIFAR archive cannot be read. Download the archive again.") from error


class _Array:
    """What a pickle says of an array: its shape and its bytes."""

    shape: tuple[int, ...] = ()
    data: bytes = b""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, _, is_fortran, data = state
        if is_fortran or not isinstance(data, bytes):
            raise ValueError("an array of another kind")
        self.data = data


class _Dtype:
    """The type of an array; only bytes are accepted."""

    def __init__(self, name: Any, *_: Any) -> None:
        if _text(name) not in ("u1", "uint8"):
            raise ValueError("an array of another type")

    def __setstate__(self, state: Any) -> None:
        pass


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _from_buffer(data: Any, _dtype: Any, shape: Any, _order: Any) -> _Array:
    array = _Array()
    array.shape, array.data = tuple(shape), bytes(data)
    return array


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", b"latin1"):
        raise ValueError("another encoding")
    return text.encode("latin1")


_KNOWN = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class _Inert(pickle.Unpickler):
    """An unpickler that knows nothing but the recorders above."""

    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get((module, name))
        if known is None:
            raise BadArchive(f"The archive's pickle asks for {module[:40]}.{name[:40]}, which is never run.")
        return known

    def persistent_load(self, pid: Any) -> Any:
        raise BadArchive("The archive's pickle points outside itself, which is never followed.")
