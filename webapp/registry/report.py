"""The report of a version: model card and evidence pack as one page for print, made from the rows and the card."""

from dataclasses import dataclass, field
from typing import Any

from flask import render_template
from markupsafe import Markup
from sqlalchemy import select

from ml.intervals import Score
from ml.prevalence import PredictiveValues, predictive_values
from webapp.models import Dataset, Evaluation, Experiment, ModelVersion, db, now
from webapp.registry import annex, figures, leakage, looks, partitions, reruns, service
from webapp.registry.annex import Item
from webapp.registry.leakage import Check
from webapp.registry.looks import Ledger
from webapp.registry.partitions import Partitions
from webapp.studies import members
from webapp.studies import results as study_results
from webapp.studies.results import Results

NAME = "card.html"
PREVALENCES = (0.005, 0.01, 0.05, 0.20)
NET_BENEFIT_AT = (0.05, 0.10, 0.20, 0.30, 0.40, 0.50, 0.60, 0.70, 0.80)


@dataclass(frozen=True)
class Report:
    """What the page says; `metrics` are those of the test split, None where there are none."""

    version: ModelVersion
    card: dict[str, Any]
    dataset: Dataset
    evaluation: Evaluation | None
    metrics: dict[str, Any] | None
    partitions: Partitions
    level: str
    ledger: Ledger
    checks: list[Check]
    external: list[Evaluation]
    rerun: reruns.Rerun | None
    study: Results | None  # of a version that is one of several trainings: what all of them scored
    stressed: Evaluation | None
    charts: dict[str, Markup] = field(default_factory=dict)
    predictive: list[PredictiveValues] = field(default_factory=list)
    net_benefit: list[tuple[float, float, float]] = field(default_factory=list)
    claim: list[Item] = field(default_factory=list)
    tripod: list[Item] = field(default_factory=list)


def html(version_id: int) -> str:
    """The whole page: no script, no other file, nothing from elsewhere. Raises NotFound."""
    report = report_of(service.get(version_id))
    return render_template("registry/report.html", report=report, strip=figures.interval, made_at=now())


def report_of(version: ModelVersion) -> Report:
    """Everything that the page says of the version, as it is now."""
    card, dataset, metrics = version.card, version.experiment.dataset, service.test_metrics(version)
    found, ledger, external = partitions.of(version.experiment), looks.ledger_of(dataset), _external(version)
    point = (metrics or {}).get("operating_point") or card.get("operating_point")
    level = partitions.level(found)
    stressed = service.stressed_evaluation(version)
    among = study_results.of(version.experiment.study) if version.experiment.study else None
    facts = _facts(version, metrics, level, external)
    if among and among.finished > 1:
        facts["uncertainty"] = f"{facts.get('uncertainty', '')} Over {among.finished} trainings: section 6.".strip()
    if stressed:
        facts["robustness"] = "Section 6, under changes of the images."
    if card.get("maps"):
        facts["maps"] = "Class activation maps, with sanity checks of them: section 6."
    return Report(
        version=version,
        card=card,
        dataset=dataset,
        evaluation=service.test_evaluation(version),
        metrics=metrics,
        partitions=found,
        level=level,
        ledger=ledger,
        checks=leakage.checklist(version, found, ledger, external, point),
        external=external,
        rerun=reruns.of(version),
        study=among,
        stressed=stressed,
        charts=_charts(metrics),
        predictive=_predictive(metrics),
        net_benefit=_net_benefit(metrics),
        claim=annex.items(annex.CLAIM, facts),
        tripod=annex.items(annex.TRIPOD_AI, facts),
    )


def _external(version: ModelVersion) -> list[Evaluation]:
    """The newest finished evaluation on each data set of another line."""
    statement = (
        select(Evaluation)
        .join(Dataset, Evaluation.dataset_id == Dataset.id)
        .where(
            Evaluation.version_id == version.id,
            Evaluation.status == "succeeded",
            Dataset.line != version.experiment.dataset.line,
        )
        .order_by(Evaluation.id)
    )
    return list({row.dataset_id: row for row in db.session.scalars(statement)}.values())


def _charts(metrics: dict[str, Any] | None) -> dict[str, Markup]:
    if not metrics:
        return {}
    drawn = {name: getattr(figures, name)(metrics) for name in ("roc", "calibration", "decision")}
    return {name: chart for name, chart in drawn.items() if chart}


def _predictive(metrics: dict[str, Any] | None) -> list[PredictiveValues]:
    if not metrics or metrics["sensitivity"]["value"] is None or metrics["specificity"]["value"] is None:
        return []
    sensitivity, specificity = (Score.model_validate(metrics[name]) for name in ("sensitivity", "specificity"))
    return [predictive_values(sensitivity, specificity, prevalence) for prevalence in PREVALENCES]


def _net_benefit(metrics: dict[str, Any] | None) -> list[tuple[float, float, float]]:
    """Threshold, net benefit of the model, that of acting on every image."""
    curve = (metrics or {}).get("decision_curve")
    if not curve:
        return []
    rows = zip(curve["thresholds"], curve["model"], curve["treat_all"], strict=True)
    return [row for row in rows if row[0] in NET_BENEFIT_AT]


def _facts(
    version: ModelVersion, metrics: dict[str, Any] | None, level: str, external: list[Evaluation]
) -> dict[str, str]:
    """What the rows can say to the items of the annex, in a sentence or as a place in the report."""
    dataset, config, card = version.experiment.dataset, version.experiment.config, version.card
    size = (card.get("input") or {}).get("size_px")
    facts = {
        "kind": f"Deep learning, image classification: {version.network}.",
        "source": f"{dataset.source_name or 'An uploaded archive'}: section 3. Origin and collection need a person.",
        "preprocessing": f"Upright, eight bits, resized to {size} × {size} px, scaled within the graph."
        if size
        else "",
        "subsets": "Files that fell out, and why: section 3.",
        "privacy": "Stored pixels carry no metadata. Burnt-in text and the source need a person.",
        "missing": "Unreadable files are rejected and listed; images without a label are left out: section 3.",
        "assignment": _assignment(version.experiment),
        "level": level,
        "model": f"{version.network}, {card.get('parameters', 0):,} parameters; softmax of the exported ONNX graph.",
        "software": "Section 2.",
        "initial": f"Initial weights: {config.get('initial_weights', 'none')}.",
        "training": "Configuration in section 2.",
        "selection": "The best epoch on validation, never on test.",
        "ensemble": "No ensemble." + (" Image and mirror image are averaged." if config.get("flip_at_test") else ""),
        "flow": "Section 3.",
        "makeup": "Images and groups by split and class: section 3. Clinical characteristics need a person.",
        "limits": "Section 9, to be completed by a person.",
        "details": f"Section 2; weights as files of version {version.id}, addressed by sha256.",
        "availability": "Code by commit and hash: section 2. Whether it is shared needs a person.",
        "outcome": f"The class of the archive: {', '.join(version.classes)}. How it was found needs a person.",
        "predictors": "The pixels of one image; none is chosen or assessed by hand.",
        "updating": "None: a version never changes.",
        "imbalance": f"Class weighting: {config.get('class_weighting', 'none')}. Counts in section 3.",
        "input": "What cannot be decoded is refused. The quality of images at use needs a person.",
    }
    if metrics:
        method = (metrics.get("intervals") or {}).get("method", "by formula")
        facts |= {
            "metrics": "Section 6.",
            "uncertainty": f"95 % intervals, {method}: section 6.",
            "internal": f"{metrics['n']} test images of the same data set: section 6.",
            "point": "Section 6, operating point.",
        }
        if metrics.get("group_level") or metrics.get("per_group"):
            facts["patients"] = "Section 7."
    if version.experiment and any(row.confident_errors for row in service.evaluations(version)):
        facts["failures"] = "Section 7, the surest errors; the images are on the page of the version."
    if external:
        facts["external"] = "Scored on other data sets, section 6; whether they are external needs a person."
    return facts


def _assignment(experiment: Experiment) -> str:
    """How the images were assigned to splits."""
    if fold := members.fold_of(experiment):
        number, k, seed = fold
        return f"Fold {number} of {k} judges, the next one chooses. Cut by groups and copies, seed {seed}: section 4."
    seed = experiment.dataset.options.get("seed", 0)
    return f"Seed {seed}, whole groups and copies, or the archive's: section 4."
