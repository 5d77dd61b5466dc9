"""Which code ran."""

from pathlib import Path

import pytest

from ml import code_version
from ml.code_version import commit_of, release_of, sources_sha256

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def git_folder(root: Path, **files: str) -> Path:
    for name, text in {"HEAD": "ref: refs/heads/main\n", **files}.items():
        path = root / ".git" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    "files",
    [
        {"HEAD": COMMIT + "\n"},
        {"refs/heads/main": COMMIT + "\n"},
        {"packed-refs": f"# pack-refs with: peeled\n{'9' * 40} refs/heads/other\n{COMMIT} refs/heads/main\n"},
    ],
)
def test_the_commit_is_read_detached_loose_or_packed(tmp_path: Path, files: dict[str, str]) -> None:
    assert commit_of(git_folder(tmp_path, **files)) == COMMIT


def test_the_commit_of_a_worktree_is_found_in_the_clone(tmp_path: Path) -> None:
    clone = git_folder(tmp_path / "clone", **{"refs/heads/side": COMMIT})
    git_folder(clone, **{"worktrees/side/HEAD": "ref: refs/heads/side\n", "worktrees/side/commondir": "../..\n"})
    (tmp_path / "side").mkdir()
    (tmp_path / "side" / ".git").write_text(f"gitdir: {clone}/.git/worktrees/side\n", encoding="utf-8")
    assert commit_of(tmp_path / "side") == COMMIT


@pytest.mark.parametrize("files", [{}, {"HEAD": "nonsense"}, {"HEAD": "ref: refs/heads/unborn"}])
def test_no_commit_is_none(tmp_path: Path, files: dict[str, str]) -> None:
    assert commit_of(tmp_path / "nowhere") is None
    assert commit_of(git_folder(tmp_path, **files)) is None


def test_the_release_is_that_of_the_project(tmp_path: Path) -> None:
    assert release_of(code_version.ROOT)
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "7.1"\n', encoding="utf-8")
    assert release_of(tmp_path) in ("7.1", release_of(code_version.ROOT))


def test_the_hash_of_the_sources_changes_with_any_of_them(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("a = 1\n", encoding="utf-8")
    before = sources_sha256(tmp_path)
    (tmp_path / "one.py").write_text("a = 2\n", encoding="utf-8")
    assert sources_sha256(tmp_path) != before
    assert code_version.code_version().sources_sha256 == sources_sha256(code_version.ROOT / "ml")
