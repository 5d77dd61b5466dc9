"""What became of the answers: their history, what is known of the truth, and whether they drift."""

from typing import Any

from flask import Blueprint, Response, render_template, request, stream_with_context

from webapp import spreadsheet
from webapp.predictions import history
from webapp.registry import service as registry
from webapp.security import allow

bp = Blueprint("watching", __name__, url_prefix="/predictions")
ANSWERS_A_PAGE = 50
TRUTHS = {"given": "known", "missing": "not known", "right": "as answered", "wrong": "other than answered"}


@bp.get("/")
@allow("viewer")
def index() -> str:
    chosen = history.wanted(request.args)
    return render_template(
        "predictions/history.html",
        page=history.page(chosen, ANSWERS_A_PAGE, request.args.get("cursor")),
        chosen=chosen,
        given=chosen.model_dump(mode="json", exclude_none=True),
        choices=_choices(),
    )


def _choices() -> dict[str, dict[Any, str]]:
    """For each part of the filter the values that a person may choose, with their texts."""
    versions, (accounts, tokens) = registry.newest(), history.clients()
    return {
        "version": {version.id: f"{version.id}: {version.name}" for version in versions},
        "decision": {label: label for label in dict.fromkeys(label for row in versions for label in row.classes)},
        "truth": TRUTHS,
        "user": {account.id: account.email for account in accounts},
        "token": {token.id: f"{token.name} ({token.user.email})" for token in tokens},
    }


@bp.get("/export.csv")
@allow("viewer")
def export() -> Response:
    """All answers that the filter lets through; the rows are sent while they are read."""
    lines = spreadsheet.lines(history.COLUMNS, history.rows(history.wanted(request.args)))
    response = Response(stream_with_context(lines), mimetype="text/csv")
    response.headers["Content-Disposition"] = "attachment; filename=predictions.csv"
    return response
