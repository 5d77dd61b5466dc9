"""The guide and the other documents: the Markdown files under docs/ as pages, for whoever is logged in.

They hold no secrets, but the site is closed by default, and whoever learns here has an account to try things with.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from posixpath import normpath

from flask import Blueprint, Response, abort, render_template, send_file, url_for
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from webapp.security import allow

bp = Blueprint("guide", __name__)
FOLDER = Path(__file__).resolve().parent.parent / "docs"
GUIDE = "guide/"


@dataclass(frozen=True)
class Document:
    """A Markdown file: its place under docs/ without the ending, and its first heading."""

    name: str
    title: str


@bp.get("/docs/")
@allow("viewer")
def index() -> str:
    chapters, others = _documents()
    return render_template("guide/index.html", chapters=chapters, others=others)


@bp.get("/docs/<path:name>")
@allow("viewer")
def page(name: str) -> str | Response:
    """A document; or one of the guide's pictures."""
    if name in _pictures():
        return send_file(FOLDER / name)
    chapters, others = _documents()
    names = [document.name for document in (*chapters, *others)]
    if name not in names:
        abort(404)
    at = names.index(name)
    beside = {"before": chapters[at - 1] if 0 < at < len(chapters) else None}
    beside["after"] = chapters[at + 1] if at + 1 < len(chapters) else None
    found = (*chapters, *others)[at]
    return render_template("guide/page.html", document=found, text=_rendered(name), **beside)


@cache
def _documents() -> tuple[list[Document], list[Document]]:
    """The chapters of the guide in their order, and the documents beside it by title."""
    paths = {path.relative_to(FOLDER).with_suffix("").as_posix(): path for path in sorted(FOLDER.rglob("*.md"))}
    found = [Document(name, path.read_text("utf-8").partition("\n")[0].lstrip("# ")) for name, path in paths.items()]
    chapters = [document for document in found if document.name.startswith(GUIDE)]
    return chapters, sorted((one for one in found if one not in chapters), key=lambda document: document.title)


@cache
def _pictures() -> set[str]:
    return {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.svg")}


@cache
def _rendered(name: str) -> Markup:
    """The document as HTML. Its text is ours; markup in it would be shown as text."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse((FOLDER / f"{name}.md").read_text("utf-8"))
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and following:
            token.attrSet("id", _anchor(following.content))
        elif token.type == "table_open":
            token.attrSet("class", "table")
        for inner in token.children or []:
            _lead_here(inner, name)
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704  of files of this project alone


def _anchor(heading: str) -> str:
    """What GitHub makes of a heading, so that one address serves both."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _lead_here(token: Token, name: str) -> None:
    """Turns addresses of files into addresses of this site; what lies outside docs/ is named and not linked."""
    key = {"link_open": "href", "image": "src"}.get(token.type, "")
    target, mark, anchor = str(token.attrGet(key) or "").partition("#")
    if not target or ":" in target:
        return
    place = normpath(f"{Path(name).parent}/{target}").removesuffix(".md")
    if place.startswith(".."):
        token.attrs.pop(key)
    else:
        token.attrSet(key, url_for("guide.page", name=place) + mark + anchor)
