"""The guide does what it says, and the commands in all documents exist."""

import contextlib
import importlib.util
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "docs" / "guide").glob("*.md"))


def blocks(document: Path) -> Iterator[tuple[str, str, int]]:
    """Language, text and line of each block of code."""
    text = document.read_text()
    for found in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield found[1], found[2], text[: found.start()].count("\n") + 1


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_a_chapter_of_the_guide_runs_and_prints_what_it_says(
    chapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names, printed, ran = {"__name__": "guide"}, io.StringIO(), 0
    for language, text, line in blocks(chapter):
        if language == "python":
            printed, ran = io.StringIO(), ran + 1
            with contextlib.redirect_stdout(printed):
                exec(compile("\n" * line + text, chapter, "exec"), names)  # noqa: S102  the project's own text
        elif language == "text":
            assert printed.getvalue() == text, f"line {line}"
    assert ran
    for picture in tmp_path.glob("*.svg"):
        assert picture.read_text() == (chapter.parent / picture.name).read_text()


@pytest.mark.parametrize("document", [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")], ids=lambda path: path.stem)
def test_commands_that_a_document_shows_exist(document: Path, app: Flask) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = "\n".join(text for language, text, _ in blocks(document) if language in ("bash", "console"))
    assert set(re.findall(r"\bmake (\w+)", shown)) <= targets
    assert set(re.findall(r"flask --app wsgi ([\w-]+)", shown)) <= set(app.cli.commands)
    for module in re.findall(r"python -m ([\w.]+)", document.read_text()):
        assert importlib.util.find_spec(module), module
