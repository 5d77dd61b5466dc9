"""Which code ran: the release, the commit where there is one, and a hash of the sources themselves."""

import functools
import hashlib
import tomllib
from importlib import metadata
from pathlib import Path

from ml.config import Frozen

DISTRIBUTION = "breast-imaging-platform"
ROOT = Path(__file__).resolve().parent.parent
_HEXADECIMAL = set("0123456789abcdef")


class CodeVersion(Frozen):
    """The code of a run. `commit` is None outside a clone; `sources_sha256` also tells of changes never committed."""

    release: str | None
    commit: str | None
    sources_sha256: str


@functools.cache
def code_version() -> CodeVersion:
    """That of the code which is running, read once from the files beside it."""
    return CodeVersion(release=release_of(ROOT), commit=commit_of(ROOT), sources_sha256=sources_sha256(ROOT / "ml"))


def release_of(root: Path) -> str | None:
    """The version of the installed distribution, else the one that pyproject.toml in the folder names; else None."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        pass
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return str(project["version"])
    except (OSError, KeyError, TypeError, ValueError):
        return None


def commit_of(root: Path) -> str | None:
    """The commit that is checked out in the folder, also in a worktree; None where there is none or it is unreadable.

    Git's files are read as they are documented; no program is started.
    """
    try:
        folder = _git_folder(root)
        head = (folder / "HEAD").read_text(encoding="ascii").strip()
        if not head.startswith("ref: "):
            return _commit(head)
        shared = folder
        if (folder / "commondir").is_file():
            shared = folder / (folder / "commondir").read_text(encoding="utf-8").strip()
        return _commit(_pointed_to(head.removeprefix("ref: "), folder, shared))
    except (OSError, ValueError):
        return None


def sources_sha256(folder: Path) -> str:
    """Hash of the names and bytes of all Python files in the folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _git_folder(root: Path) -> Path:
    """`.git` itself; in a worktree a file of that name says where the folder is."""
    git = root / ".git"
    if not git.is_file():
        return git
    return root / git.read_text(encoding="utf-8").strip().removeprefix("gitdir: ")


def _pointed_to(name: str, folder: Path, shared: Path) -> str:
    """What the reference holds, loose or packed; empty where there is none."""
    for place in (folder, shared):
        if (place / name).is_file():
            return (place / name).read_text(encoding="ascii")
    packed = shared / "packed-refs"
    lines = packed.read_text(encoding="utf-8").splitlines() if packed.is_file() else []
    return next((line.split(" ")[0] for line in lines if line.endswith(f" {name}")), "")


def _commit(text: str) -> str | None:
    digits = text.strip()
    return digits if len(digits) in (40, 64) and set(digits) <= _HEXADECIMAL else None
