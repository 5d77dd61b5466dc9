"""What became of the answers: their history, what is known of the truth, and whether they drift."""

from typing import Any

from flask import Blueprint, Response, render_template, request, stream_with_context

from ml.drift import LARGE, LEAST, MODERATE, Sample, histogram
from ml.incoming import Kind
from webapp import spreadsheet
from webapp.predictions import drift, feedback, history, incoming
from webapp.registry import service as registry
from webapp.security import allow

bp = Blueprint("watching", __name__, url_prefix="/predictions")
ANSWERS_A_PAGE = 50
BINS_SHOWN = 20
DISTANCES: dict[Kind, str] = {"embedding": "Features", "look": "Plain look"}
FAR = 2.0  # in parts of a limit: charts of distances end here
CLASSES_SHOWN = 20
DOMAINS = {"inside": "inside, or not looked at", "outside": "outside"}
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
        live=feedback.live_scores(chosen.version),
    )


def _choices() -> dict[str, dict[Any, str]]:
    """For each part of the filter the values that a person may choose, with their texts."""
    accounts, tokens = history.clients()
    labels = dict.fromkeys(label for version in registry.newest() for label in version.classes)
    return {
        "version": _versions(),
        "decision": {label: label for label in labels},
        "domain": DOMAINS,
        "truth": TRUTHS,
        "user": {account.id: account.email for account in accounts},
        "token": {token.id: f"{token.name} ({token.user.email})" for token in tokens},
    }


def _versions() -> dict[int, str]:
    return {version.id: f"{version.id}: {version.name}" for version in registry.newest()}


@bp.get("/export.csv")
@allow("viewer")
def export() -> Response:
    """All answers that the filter lets through; the rows are sent while they are read."""
    pieces = spreadsheet.pieces(history.COLUMNS, history.rows(history.wanted(request.args)))
    response = Response(stream_with_context(pieces), mimetype="text/csv")
    response.headers["Content-Disposition"] = "attachment; filename=predictions.csv"
    return response


@bp.get("/watching")
@allow("viewer")
def report() -> str:
    """The version that the address names, or the active one."""
    version_id, active = history.wanted(request.args).version, registry.active()
    version = registry.get(version_id) if version_id else active.version if active else None
    watched, came = (drift.watch(version), incoming.watch(version)) if version else (None, None)
    return render_template(
        "predictions/watching.html",
        version=version,
        choices=_versions(),
        watched=watched,
        came=came,
        distances=_distances(came) if came else {},
        **(_charts(watched) if watched else {}),
        live=feedback.live_scores(),
        least=LEAST,
        moderate=MODERATE,
        large=LARGE,
    )


def _charts(watched: drift.Watched) -> dict[str, dict[str, Any]]:
    """What the charts are drawn from: validation first, then each window that has answers."""
    shown = _shown(watched.reference, watched.samples["day"], watched.samples["week"])
    classes = sorted({label for sample in shown.values() for label in sample.answered})[:CLASSES_SHOWN]
    middles = [(place + 0.5) / BINS_SHOWN for place in range(BINS_SHOWN)]
    shares = {name: [sample.answered.get(label, 0) / sample.n for label in classes] for name, sample in shown.items()}
    scores = {name: histogram(sample, BINS_SHOWN) for name, sample in shown.items()}
    return {"scores": _chart("Score", middles, scores), "answered": _chart("Answered class", classes, shares)}


def _distances(came: incoming.Incoming) -> dict[Kind, dict[str, Any]]:
    """For each distance what its chart is drawn from; none where no distances are kept to compare with."""
    kept = came.rule.distances if came.rule else None
    if kept is None:
        return {}
    middles = [FAR * (place + 0.5) / BINS_SHOWN for place in range(BINS_SHOWN)]
    found = {}
    for kind, name in DISTANCES.items():
        shown = _shown(kept.sample(kind), came.samples["day"][kind], came.samples["week"][kind])
        lines = {window: histogram(sample, BINS_SHOWN, FAR) for window, sample in shown.items()}
        found[kind] = _chart(f"{name}: distance (limit: 1)", middles, lines)
    return found


def _shown(before: Sample | None, day: Sample, week: Sample) -> dict[str, Sample]:
    samples = {"Validation": before, "24 hours": day, "7 days": week}
    return {name: sample for name, sample in samples.items() if sample and sample.n}


def _chart(across: str, bins: list[Any], lines: dict[str, list[float]]) -> dict[str, Any]:
    named = [{"name": name, "values": values} for name, values in lines.items()]
    return {"kind": "shares", "across": across, "bins": bins, "lines": named}
