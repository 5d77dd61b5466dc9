"""The OpenAPI document as a page, served without a CDN and without a script."""

from itertools import groupby
from typing import Any

from flask import Blueprint, current_app, render_template, request

from webapp.api import openapi

bp = Blueprint("docs", __name__)


@bp.get("/api/docs")
def page() -> str:
    """Every operation by its tag, every schema, and examples to copy."""
    document = openapi.document(current_app)
    found = [
        {"verb": verb, "path": path, **one} for path, verbs in document["paths"].items() for verb, one in verbs.items()
    ]
    return render_template(
        "api/docs.html",
        info=document["info"],
        sections=_by_tag(found),
        schemas=document["components"]["schemas"],
        failures=document["components"]["responses"],
        site=request.host_url.rstrip("/"),
    )


def _by_tag(operations: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """In the order in which the tags first come."""
    order = list(dict.fromkeys(one["tags"][0] for one in operations))
    operations = sorted(operations, key=lambda one: order.index(one["tags"][0]))
    return {tag: list(group) for tag, group in groupby(operations, lambda one: str(one["tags"][0]))}
