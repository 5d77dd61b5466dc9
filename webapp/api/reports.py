"""The report of a version as JSON: the object that the page for print is made of. And what a person adds to it."""

from typing import Annotated, Any

from flask import Blueprint, url_for
from typing_extensions import TypedDict

from ml.comparison import Pair
from ml.prevalence import PredictiveValues
from ml.subgroups import Subgroup
from webapp.api import answers, schemas, sent
from webapp.api.bodies import asks, takes
from webapp.api.shapes import Dumped, Moment
from webapp.models import Evaluation
from webapp.registry import intended_use, report, reruns, service
from webapp.registry.annex import Item
from webapp.registry.breakdown import Breakdown, Suggestion
from webapp.registry.leakage import Check
from webapp.registry.looks import Ledger
from webapp.registry.partitions import Partitions
from webapp.registry.report import NetBenefit, Report, Risk
from webapp.registry.rival import Rival, Role
from webapp.registry.tuning import Tuning
from webapp.security import actor, allow

bp = Blueprint("api_reports", __name__, url_prefix="/api/v1")
Predictive = Annotated[dict[str, Any], Dumped(PredictiveValues)]


class ReportedLook(TypedDict):
    """One time that a version was scored on the test images."""

    at: Moment
    version: int
    evaluation: int
    dataset_number: int
    images: str
    who: str | None
    is_automatic: bool


class ReportedLedger(TypedDict):
    """How often the test images were looked at, by how many versions; the newest looks."""

    looks: int
    versions: int
    newest: list[ReportedLook]


class ReportedRerun(TypedDict):
    """How the version compares with the first one of its configuration and data."""

    first_version: int
    has_same_weights: bool
    has_same_metrics: bool | None
    differences: list[dict[str, str]]


class ReportedSubgroups(TypedDict):
    """The scores of the images of each value of a column; `is_given` where the column came with the data."""

    column: str
    title: str
    is_given: bool
    values: list[Annotated[dict[str, Any], Dumped(Subgroup)]]


class ReportedLabels(TypedDict):
    """How many labels the version doubts, most doubtful first: suggestions, no corrections."""

    doubtful: int
    first: list[Suggestion]


class ReportedRival(TypedDict):
    """The version that serves, or the parent, on the same images: in each list it comes first. `pair` is this less it.

    `problem` says why there is no comparison.
    """

    version: int
    role: Role
    evaluations: list[answers.Evaluation]
    trained_on: list[int] | None
    pair: Annotated[dict[str, Any], Dumped(Pair)] | None
    problem: str | None


class EvidencePack(TypedDict):
    """What the report for print says. In `claim` and `tripod_ai` `person` names what only a person can write."""

    notice: str
    made_at: Moment
    page: str
    version: answers.VersionWithCard
    experiment: answers.Experiment
    rerun: ReportedRerun | None
    search: Tuning | None
    flow: Partitions
    disjoint_at: str
    leakage: list[Check]
    metrics: answers.Scores | None
    evaluation: answers.Evaluation | None
    predictive_values: list[Predictive]
    net_benefit: list[NetBenefit]
    risk_coverage: list[Risk]
    comparison: ReportedRival | None
    subgroups: list[ReportedSubgroups] | None
    subgroups_left_out: list[str]
    labels: ReportedLabels | None
    study: answers.Study | None
    external: list[answers.Evaluation]
    robustness: answers.Evaluation | None
    ledger: ReportedLedger
    limits: list[str]
    claim: list[Item]
    tripod_ai: list[Item]


@bp.get("/versions/<int:version_id>/report")
@allow("viewer")
@asks(sent.ReportArguments)
def read_report(asked: sent.ReportArguments, version_id: int) -> EvidencePack:
    """Model card and evidence pack, as it is at this moment: what the page for print says."""
    return _pack(report.report_of(service.get(version_id), asked.prevalence))


@bp.put("/versions/<int:version_id>/intended-use")
@allow("researcher")
@takes(sent.NewIntendedUse)
def write_intended_use(wanted: sent.NewIntendedUse, version_id: int) -> answers.Version:
    """What the version is for; who wrote it and when are kept, and every text stays in the audit trail."""
    version = service.get(version_id)
    intended_use.write(version, wanted.text, actor().user)
    return schemas.version(version, service.active())


def _pack(made: Report) -> EvidencePack:
    version = made.version
    return {
        "notice": report.NOTICE,
        "made_at": schemas.moment(made.made_at),
        "page": url_for("registry.printed", version_id=version.id, prevalence=made.prevalence),
        "version": {**schemas.version(version, service.active()), "card": made.card},
        "experiment": schemas.experiment(version.experiment),
        "rerun": _rerun(made.rerun),
        "search": made.tuning,
        "flow": made.partitions,
        "disjoint_at": made.level,
        "leakage": made.checks,
        "metrics": made.metrics,
        "evaluation": _evaluation(made.evaluation),
        "predictive_values": [one.model_dump(mode="json") for one in made.predictive],
        "net_benefit": made.net_benefit,
        "risk_coverage": made.risks,
        "comparison": _rival(made.rival) if made.rival else None,
        "subgroups": _subgroups(made.breakdown) if made.breakdown else None,
        "subgroups_left_out": made.breakdown.left_out if made.breakdown else [],
        "labels": _labels(made.breakdown) if made.breakdown else None,
        "study": schemas.study(version.experiment.study) if version.experiment.study else None,
        "external": [schemas.evaluation(row) for row in made.external],
        "robustness": _evaluation(made.stressed),
        "ledger": _ledger(made.ledger),
        "limits": made.limits,
        "claim": made.claim,
        "tripod_ai": made.tripod,
    }


def _evaluation(row: Evaluation | None) -> answers.Evaluation | None:
    return schemas.evaluation(row) if row else None


def _rival(rival: Rival) -> ReportedRival:
    found = rival.found
    return {
        "version": rival.version.id,
        "role": rival.role,
        "evaluations": [schemas.evaluation(row) for row in found.evaluations] if found else [],
        "trained_on": found.trained_on if found else None,
        "pair": found.pair.model_dump(mode="json") if found else None,
        "problem": rival.problem,
    }


def _subgroups(found: Breakdown) -> list[ReportedSubgroups]:
    return [
        {
            "column": table.column,
            "title": table.title,
            "is_given": table.is_given,
            "values": [one.model_dump(mode="json") for one in table.values],
        }
        for table in found.subgroups
    ]


def _labels(found: Breakdown) -> ReportedLabels:
    return {"doubtful": found.doubtful, "first": found.suggestions}


def _rerun(found: reruns.Rerun | None) -> ReportedRerun | None:
    if found is None:
        return None
    return {
        "first_version": found.first.id,
        "has_same_weights": found.has_same_weights,
        "has_same_metrics": found.has_same_metrics,
        "differences": [{"of": what, "first": one, "this": other} for what, one, other in found.differences],
    }


def _ledger(ledger: Ledger) -> ReportedLedger:
    return {
        "looks": ledger.looks,
        "versions": ledger.versions,
        "newest": [
            {
                "at": schemas.moment(look.evaluation.finished_at or look.evaluation.created_at),
                "version": look.evaluation.version_id,
                "evaluation": look.evaluation.id,
                "dataset_number": look.evaluation.dataset.number,
                "images": look.images,
                "who": look.who,
                "is_automatic": look.is_automatic,
            }
            for look in ledger.newest
        ],
    }
