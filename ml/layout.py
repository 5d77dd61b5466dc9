"""The layout of an archive: which class and split a path stands for.

`<class>/image.png`, or `train|validation|test/<class>/image.png`; folders around all of it do not count, and
folders below the class are part of the path only.
"""

import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Self

from ml.config import Split

IMAGE_SUFFIXES = frozenset(
    {
        ".avif",
        ".bmp",
        ".dcm",
        ".dicom",
        ".gif",
        ".ima",
        ".jfif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    }
)

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_SYSTEM_FILES = {"__macosx", "thumbs.db", "desktop.ini"}
_MAX_PATH = 1_000
_MAX_LABEL = 200


class LeftOut(Exception):
    """The file is no part of the data set; the text says why."""


@dataclass(frozen=True)
class Place:
    """What the folders say about an image; no split where the archive names none."""

    label: str
    split: Split | None


@dataclass(frozen=True)
class Layout:
    """Folders around everything, and whether split folders follow them."""

    root: tuple[str, ...]
    has_splits: bool

    @classmethod
    def of(cls, paths: Iterable[str]) -> Self:
        """The layout that explains these paths of images (as `image_path` gives them)."""
        folders = {tuple(path.split("/")[:-1]) for path in paths} - {()}
        root: tuple[str, ...] = ()
        while (first := _common_root(folders)) is not None:
            root += (first,)
            folders = {parts[1:] for parts in folders} - {()}
        return cls(root, _has_splits(folders))

    @property
    def class_depth(self) -> int:
        """How many folders lead to the images of a class."""
        return len(self.root) + self.has_splits + 1

    @property
    def rule(self) -> str:
        """A sentence for people: where the class of an image is read."""
        below = f" below '{'/'.join(self.root)}'" if self.root else ""
        after = ", after the folder of its split" if self.has_splits else ""
        return f"The class is the first folder{below}{after}"

    def place(self, path: str) -> Place:
        """Class and split of an image. Raises LeftOut where its folders name no class."""
        folders = tuple(path.split("/")[:-1])
        if folders[: len(self.root)] == self.root:
            folders = folders[len(self.root) :]
        split = None
        if self.has_splits:
            split = SPLIT_NAMES.get(folders[0].lower()) if folders else None
            if split is None:
                raise LeftOut("It lies outside the train, validation and test folders.")
            folders = folders[1:]
        if not folders:
            raise LeftOut("It lies in no class folder.")
        if len(folders[0]) > _MAX_LABEL:
            raise LeftOut(f"The name of its class folder is longer than {_MAX_LABEL} characters.")
        return Place(folders[0], split)


class Anywhere(Layout):
    """The layout of images that are to be scored: they have no class, and may lie in any folder or in none."""

    def place(self, path: str) -> Place:
        return Place("", None)


def printable(name: str) -> str:
    """The name fit for JSON, pages and logs: bytes that are no text and control characters become U+FFFD."""
    if name.isascii() and name.isprintable():
        return name
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in unicodedata.normalize("NFC", text))


def image_path(name: str) -> str:
    """The entry's path with `/` between folders. Raises LeftOut where it cannot be an image of the data set."""
    path = name.replace("\\", "/")
    if len(path) > _MAX_PATH:
        raise LeftOut(f"Its path is longer than {_MAX_PATH} characters.")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or (parts and parts[0].endswith(":")):
        raise LeftOut("Its path leads out of the archive.")
    if any(part.startswith(".") or part.lower() in _SYSTEM_FILES for part in parts):
        raise LeftOut("It is a system file.")
    if not parts or not _has_image_name(parts[-1]):
        raise LeftOut("It is not an image file.")
    return "/".join(parts)


def may_be_dicom(path: str) -> bool:
    """Whether the name is one that DICOM files have: their suffix, or none."""
    _, dot, suffix = path.rpartition("/")[2].lower().rpartition(".")
    return not dot or suffix in ("dcm", "dicom", "ima") or suffix.isdecimal()


def _has_image_name(name: str) -> bool:
    """A name without suffix, or one that ends in a number as DICOM's may, can be an image; its content decides."""
    _, dot, suffix = name.rpartition(".")
    return not dot or f".{suffix.lower()}" in IMAGE_SUFFIXES or may_be_dicom(name)


def _common_root(folders: Collection[tuple[str, ...]]) -> str | None:
    """The first folder, where all share it, it names no split, and class folders remain below it."""
    firsts = {parts[0] for parts in folders}
    if len(firsts) != 1 or all(len(parts) == 1 for parts in folders):
        return None
    first = firsts.pop()
    return None if first.lower() in SPLIT_NAMES else first


def _has_splits(folders: Collection[tuple[str, ...]]) -> bool:
    """A class may be called "train" (as in CIFAR's kin): a split folder has class folders below it."""
    firsts = {parts[0].lower() for parts in folders}
    deeper = {SPLIT_NAMES.get(parts[0].lower()) for parts in folders if len(parts) > 1}
    return "train" in deeper or (bool(firsts) and firsts <= set(SPLIT_NAMES) and bool(deeper))
