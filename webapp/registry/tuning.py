"""How the settings of a version were found: which trial of which search it is, and what the search judged by."""

from dataclasses import dataclass

from ml.space import title_of
from webapp.models import Experiment
from webapp.searches import results


@dataclass(frozen=True)
class Tuning:
    """One trial of a search. `trials` are those planned, or begun where it has ended; `best` is one so far."""

    search: int
    name: str
    trial: int
    trials: int
    finished: int
    is_over: bool
    judged_by: str
    settings: list[str]  # titles of what varied
    best: int | None

    @property
    def place(self) -> str:
        return f"Trial {self.trial} of {self.trials} of the search “{self.name}”"

    @property
    def verdict(self) -> str:
        """What the search says of this trial."""
        so_far = "" if self.is_over else " so far"
        if self.best == self.trial:
            return f"chosen by {self.judged_by}{so_far}"
        if self.best is None:
            return f"which judges by {self.judged_by}"
        return f"whose best by {self.judged_by}{so_far} is trial {self.best}"


def of(experiment: Experiment) -> Tuning | None:
    """The trial that the experiment is; None of one whose settings no search chose."""
    search = experiment.search
    if search is None or experiment.trial is None:
        return None
    found = results.of(search)
    is_over = search.status != "running"
    return Tuning(
        search=search.id,
        name=search.name,
        trial=experiment.trial,
        trials=len(found.rows) if is_over else found.plan.trials,
        finished=found.count("finished"),
        is_over=is_over,
        judged_by=_in_a_sentence(results.METRICS[found.plan.metric]),
        settings=[title_of(name) for name in found.plan.space],
        best=found.best,
    )


def _in_a_sentence(metric: str) -> str:
    return metric[:1].lower() + metric[1:]
