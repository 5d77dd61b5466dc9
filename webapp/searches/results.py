"""What a search tells: its trials, the best one, what mattered, and the charts of it."""

import functools
from dataclasses import dataclass
from typing import Any

from ml.space import Plan, Trial, title_of
from webapp.models import Experiment, Search
from webapp.searches import trials

METRICS = {"auc": "Validation AUC", "accuracy": "Validation accuracy", "loss": "Validation loss"}


@dataclass(frozen=True)
class Results:
    """Rows and trials in their order; `best` is the number of a trial."""

    plan: Plan
    rows: list[Experiment]
    trials: list[Trial]
    best: int | None

    @functools.cached_property
    def importance(self) -> dict[str, float]:
        """Shares by setting; found only where it is asked for, since many trials take a second."""
        from ml import search as science

        return science.importance(self.plan, self.trials)

    def count(self, state: str) -> int:
        return sum(trial.state == state for trial in self.trials)


def of(search: Search) -> Results:
    """What is known now."""
    from ml import search as science

    plan, rows = Plan.model_validate(search.plan), trials.rows_of(search)
    found = trials.of(search, rows)
    return Results(plan, rows, found, science.best(plan, found))


def charts(results: Results) -> dict[str, dict[str, Any]]:
    """What each chart is drawn from, by the chart's id: the scores in their order, one slice a setting, importance."""
    plan, metric = results.plan, METRICS[results.plan.metric]
    points = [
        {"number": number, "state": trial.state, "score": _shown(trial), "values": trial.values}
        for number, trial in enumerate(results.trials, 1)
        if _shown(trial) is not None
    ]
    shared = {"points": points, "metric": metric, "is_lower_better": plan.metric == "loss"}
    titles = {name: title_of(name) for name in plan.space}
    drawn: dict[str, dict[str, Any]] = {"history-chart": {"kind": "history", **shared}}
    for place, (name, dimension) in enumerate(plan.space.items(), 1):
        is_log = dimension.is_log
        drawn[f"slice-{place}"] = {"kind": "slice", "name": name, "title": titles[name], "is_log": is_log, **shared}
    weights = [{"title": titles[name], "share": share} for name, share in results.importance.items()]
    return drawn | {"importance-chart": {"kind": "importance", "weights": weights}}


def _shown(trial: Trial) -> float | None:
    """The score of a finished trial, the last one of a pruned one."""
    return trial.score_by_epoch[max(trial.score_by_epoch)] if trial.state == "pruned" else trial.score
