"""The report of a version: model card and evidence pack, as one page for print; the API sends the same as JSON."""

import datetime
from dataclasses import dataclass
from typing import Any

from flask import render_template
from markupsafe import Markup

from ml.prevalence import PredictiveValues
from webapp.models import ModelVersion, now
from webapp.registry import annex, facts, figures, leakage, limits, material, prevalences, service
from webapp.registry.annex import Item
from webapp.registry.leakage import Check
from webapp.registry.material import Material

NAME = "card.html"
NET_BENEFIT_AT = (0.05, 0.10, 0.20, 0.30, 0.40, 0.50, 0.60, 0.70, 0.80)
MOST_CLASSES = 30  # with a line of their own
COVERAGES = (1.0, 0.95, 0.90, 0.80, 0.70, 0.50)
NOTICE = "Research use only. Not a medical device; not for diagnosis, screening or treatment decisions."


@dataclass(frozen=True)
class NetBenefit:
    """What acting at a threshold gains, on the model's word and on every image."""

    threshold: float
    model: float
    treat_all: float


@dataclass(frozen=True)
class Risk:
    """The share of errors if only this share of the images, the surest, were answered."""

    coverage: float
    risk: float


@dataclass(frozen=True, kw_only=True)
class Report(Material):
    """What page and JSON say: the material, and what follows from it."""

    made_at: datetime.datetime
    checks: list[Check]
    prevalence: float | None  # the one asked for, which `predictive` has beside the usual ones
    predictive: list[PredictiveValues]
    net_benefit: list[NetBenefit]
    risks: list[Risk]
    limits: list[str]
    claim: list[Item]
    tripod: list[Item]


def html(version_id: int, prevalence: float | None = None, is_file: bool = False) -> str:
    """The whole page: no script, nothing from elsewhere; as a file without links. Raises what `report_of` raises."""
    report = report_of(service.get(version_id), prevalence)
    return render_template(
        "registry/report.html",
        report=report,
        charts=_charts(report),
        strip=figures.interval,
        notice=NOTICE,
        most_classes=MOST_CLASSES,
        is_file=is_file,
    )


def report_of(version: ModelVersion, prevalence: float | None = None) -> Report:
    """Everything that is said of the version, as it is now. Raises Invalid, Conflict for a prevalence without use."""
    known = material.of(version)
    told = facts.of(known)
    return Report(
        **vars(known),
        made_at=now(),
        checks=leakage.checklist(known),
        prevalence=prevalence,
        predictive=prevalences.table(known.metrics, prevalence),
        net_benefit=_net_benefit(known.metrics),
        risks=_risks(known.metrics),
        limits=limits.of(known),
        claim=annex.items(annex.CLAIM, told),
        tripod=annex.items(annex.TRIPOD_AI, told),
    )


def _charts(report: Report) -> dict[str, Markup]:
    epochs, best = report.version.experiment.epochs, report.card.get("best_epoch")
    drawn = {name: draw(epochs, best) for name, draw in figures.OF_EPOCHS.items()}
    if report.metrics:
        drawn |= {name: draw(report.metrics) for name, draw in figures.OF_METRICS.items()}
    return {name: chart for name, chart in drawn.items() if chart}


def _net_benefit(metrics: dict[str, Any] | None) -> list[NetBenefit]:
    curve = (metrics or {}).get("decision_curve")
    if not curve:
        return []
    rows = zip(curve["thresholds"], curve["model"], curve["treat_all"], strict=True)
    return [NetBenefit(*row) for row in rows if row[0] in NET_BENEFIT_AT]


def _risks(metrics: dict[str, Any] | None) -> list[Risk]:
    """The points of the curve that lie nearest to round coverages, each once."""
    curve = (metrics or {}).get("risk_coverage")
    if not curve:
        return []
    points = list(zip(curve["coverage"], curve["risk"], strict=True))
    nearest = [min(points, key=lambda point: abs(point[0] - wanted)) for wanted in COVERAGES]
    return [Risk(*point) for point in dict.fromkeys(nearest)]
