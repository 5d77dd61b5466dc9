"""The guide and the documents as pages."""

import re
from pathlib import Path

from flask.testing import FlaskClient

from tests.factories import Auth

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_every_document_is_a_page_whose_links_lead_somewhere(client: FlaskClient, auth: Auth) -> None:
    auth.login("viewer")
    index = client.get("/docs/").text
    names = [path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")]
    pages = {name: client.get(f"/docs/{name}").text for name in names}
    for name, page in pages.items():
        assert f'href="/docs/{name}"' in index
        text = page.partition("<article")[2].partition("</article>")[0]
        for place, anchor in re.findall(r'(?:href|src)="/docs/([^"#]+)#?([^"]*)"', text):
            if place not in pages:
                with client.get(f"/docs/{place}") as picture:
                    assert picture.status_code == 200, f"{name}: {place}"
            elif anchor:
                assert f'id="{anchor}"' in pages[place], f"{name}: {place}#{anchor}"
        assert not re.search(r'(?:href|src)="(?![/#]|https://)', text), name


def test_chapters_follow_one_another_and_pictures_are_shown(client: FlaskClient, auth: Auth) -> None:
    auth.login("viewer")
    page = client.get("/docs/guide/03-autograd").text
    for text in ("/docs/guide/02-tensors", "/docs/guide/04-ecosystem", 'src="/docs/guide/stage.svg"', "<table"):
        assert text in page
    with client.get("/docs/guide/stage.svg") as picture:
        assert picture.mimetype == "image/svg+xml"


def test_only_documents_are_served_and_only_to_those_who_are_logged_in(client: FlaskClient, auth: Auth) -> None:
    assert client.get("/docs/guide/03-autograd").status_code == 302
    auth.login("viewer")
    for name in ("guide", "../README", "..%2Fpyproject.toml", "guide/03-autograd.md", "absent"):
        assert client.get(f"/docs/{name}").status_code == 404, name
