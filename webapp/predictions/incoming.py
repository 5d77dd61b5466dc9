"""Whether the images that a version is asked about are like those of its validation split."""

import datetime
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import func, select

from ml.domain import DomainRule
from ml.drift import Sample
from ml.incoming import GRID, KINDS, Kind, Moved, Outside, counted, moved, outside
from webapp.models import ModelVersion, Prediction, db, now
from webapp.predictions.drift import WINDOWS


@dataclass(frozen=True)
class Incoming:
    """The images of each window beside those of validation, by what the guard found.

    `rule` is None without a guard, and nothing is known then; `moved` is empty where the card keeps no distances.
    """

    rule: DomainRule | None
    outside: dict[str, Outside]
    samples: dict[str, dict[Kind, Sample]]
    moved: dict[str, dict[Kind, Moved]]


def watch(version: ModelVersion) -> Incoming:
    """How many images of each window lay outside the domain, and how far their distances moved."""
    if not version.card.get("domain"):
        return Incoming(None, {}, {}, {})
    rule, until = DomainRule.model_validate(version.card["domain"]), now()
    since = {name: until - length for name, length in WINDOWS.items()}
    counts = {name: _counts(version, moment) for name, moment in since.items()}
    shares = {name: outside(n - labelled, n, rule.n, rule.within) for name, (n, labelled) in counts.items()}
    kept = rule.distances
    if kept is None:
        return Incoming(rule, shares, {}, {})
    samples = {name: {kind: _distances(version, kind, at) for kind in KINDS} for name, at in since.items()}
    shifts = {
        name: {kind: moved(kept.sample(kind), sample) for kind, sample in kinds.items()}
        for name, kinds in samples.items()
    }
    return Incoming(rule, shares, samples, shifts)


def _counts(version: ModelVersion, since: datetime.datetime) -> tuple[int, int]:
    """All images that were answered from a moment on, and those that got a label."""
    statement = select(func.count(), func.count(Prediction.label))
    n, labelled = db.session.execute(statement.where(*_of(version, since))).one()
    return n, labelled


def _distances(version: ModelVersion, kind: Kind, since: datetime.datetime) -> Sample:
    """The distances from a moment on, counted by the database; rows of earlier releases have none."""
    column = getattr(Prediction, f"{kind}_distance")
    step = func.round(column * GRID)
    statement = select(step, func.count()).where(*_of(version, since), column.is_not(None)).group_by(step)
    found = sorted((int(value), float(count)) for value, count in db.session.execute(statement))
    rising, counts = zip(*found, strict=True) if found else ((), ())
    return counted(np.array(rising, np.float64) / GRID, np.array(counts, np.float64))


def _of(version: ModelVersion, since: datetime.datetime) -> list[Any]:
    return [Prediction.version_id == version.id, Prediction.created_at >= since]
