"""Searches: begun, led on from trial to trial, cancelled. Whoever calls `advance` leads; there is no leader to lose."""

import logging
from collections import Counter
from collections.abc import Callable

from redis.exceptions import RedisError
from sqlalchemy import select

from ml import space
from ml.config import TrainConfig
from ml.errors import BadConfig, MlError
from ml.space import Plan, Trial, Value
from webapp import audit, queue
from webapp.datasets import service as datasets
from webapp.errors import Conflict, Invalid, NotFound
from webapp.experiments import service as experiments
from webapp.models import FINAL_STATUSES, Experiment, Search, User, db, find, move, now, stop, take_turns
from webapp.searches import trials

log = logging.getLogger(__name__)
NextValues = Callable[[Plan, list[Trial]], dict[str, Value]]
IN_VAIN = 3  # failures, and nothing else, after which a search ends


def create(dataset_id: int, name: str, config: TrainConfig, plan: Plan, user: User) -> Search:
    """A search whose first trials wait in the queue. Raises NotFound, Conflict, Invalid."""
    dataset = datasets.get_ready(dataset_id)
    name = datasets.clean_name(name)
    experiments.check_initial_weights(config)
    if plan.metric == "auc" and len(dataset.classes) != 2:
        message = f"The area under the ROC curve is of two classes; data set {dataset.id} has {len(dataset.classes)}."
        raise Invalid(message, {"plan.metric": "accuracy or loss"})
    try:
        space.check(plan, config)
    except BadConfig as error:
        raise Invalid(str(error), {"plan.space": "see above"}) from error
    search = Search(
        name=name,
        dataset=dataset,
        config=config.model_dump(mode="json"),
        plan=plan.model_dump(mode="json"),
        created_by=user,
    )
    db.session.add(search)
    audit.record("search.create", search, user, dataset=dataset.id, network=config.network, trials=plan.trials)
    db.session.commit()
    advance(search.id)
    return search


def advance(search_id: int) -> None:
    """Queues the next trials of a search, as many at once as there are workers, or ends it. Twice is harmless.

    Commits. Callers take turns, so that two of them do not make the same trial.
    """
    from ml import search as science  # Optuna takes a second to import: only for searches, and before it is our turn

    workers = _workers()
    take_turns()
    search = db.session.get(Search, search_id, populate_existing=True)
    if search is None or search.status != "running":
        db.session.rollback()
        return
    trials_planned, found = search.plan["trials"], _counts(search)
    begun, under_way = found.total(), found.total() - sum(found[status] for status in FINAL_STATUSES)
    made: list[Experiment] = []
    if begun >= IN_VAIN and found["failed"] == begun:
        _end(search, "failed", f"The first {begun} trials have failed. The last one: {_last_reason(search)}")
    elif begun == trials_planned and not under_way:
        reason = None if found["succeeded"] else "No trial has finished. Their pages say why."
        _end(search, "failed" if reason else "succeeded", reason)
    else:
        made = _draw_or_fail(search, min(workers - under_way, trials_planned - begun), science.next_values)
    db.session.commit()
    for experiment in made:
        queue.ring(queue.TRAIN, experiment.id)


def _counts(search: Search) -> Counter[str]:
    """Trials by status."""
    statement = select(Experiment.status).where(Experiment.search_id == search.id)
    return Counter(db.session.scalars(statement))


def _draw_or_fail(search: Search, count: int, next_values: NextValues) -> list[Experiment]:
    """The new trials. A plan that gives none, such as one of another release, ends its search and holds up no other."""
    try:
        return _draw(search, count, next_values)
    except (MlError, ValueError) as error:
        log.exception("search_cannot_go_on", extra={"search": search.id})
        _end(search, "failed", f"The next trial could not be drawn. {error}")
        return []


def _draw(search: Search, count: int, next_values: NextValues) -> list[Experiment]:
    """So many new trials, the settings of each drawn from those before it."""
    if count < 1:
        return []
    plan, found, made = Plan.model_validate(search.plan), trials.of(search, trials.rows_of(search)), []
    for _ in range(count):
        values = next_values(plan, found)
        found.append(Trial(values, "running"))
        made.append(_add(search, len(found), values))
    return made


def _workers() -> int:
    try:
        return max(1, len(queue.workers()))
    except RedisError:
        return 1


def _last_reason(search: Search) -> str | None:
    statement = select(Experiment.failed_because).where(Experiment.search_id == search.id)
    return db.session.scalar(statement.order_by(Experiment.trial.desc()).limit(1))


def _end(search: Search, status: str, reason: str | None) -> None:
    move(Search, search.id, status, ("running",), finished_at=now(), failed_because=reason)


def _add(search: Search, number: int, values: dict[str, Value]) -> Experiment:
    config = space.with_values(TrainConfig.model_validate(search.config), values)
    experiment = Experiment(
        name=f"{search.name[:180]} (trial {number})",
        dataset_id=search.dataset_id,
        config=config.model_dump(mode="json"),
        created_by_id=search.created_by_id,
        search_id=search.id,
        trial=number,
    )
    db.session.add(experiment)
    return experiment


def advance_with(experiment_id: int) -> None:
    """Leads on the search of a trial that has ended; nothing for any other experiment."""
    search_id = db.session.scalar(select(Experiment.search_id).where(Experiment.id == experiment_id))
    if search_id is not None:
        advance(search_id)


def advance_all() -> None:
    """Leads on every search: after lost workers, and when workers came."""
    for search_id in db.session.scalars(select(Search.id).where(Search.status == "running")).all():
        advance(search_id)


def is_hopeless(experiment_id: int) -> bool:
    """Whether the search of this trial gives it up now. A person who resumed one that was given up has decided."""
    experiment = db.session.get_one(Experiment, experiment_id, populate_existing=True)
    if experiment.search is None or experiment.trial is None or experiment.pruned_epoch is not None:
        return False
    from ml import search as science

    plan, rows = Plan.model_validate(experiment.search.plan), trials.rows_of(experiment.search)
    return science.is_hopeless(plan, trials.of(experiment.search, rows), experiment.trial)


def get(search_id: int) -> Search:
    """The search. Raises NotFound."""
    search = find(Search, search_id)
    if search is None:
        raise NotFound(f"There is no search {search_id}.")
    return search


def status(search: Search) -> str:
    """In the words of an experiment's status: one that was cancelled is `cancelling` while a trial still runs."""
    is_stopping = search.status == "cancelled" and not is_final(search)
    return "cancelling" if is_stopping else search.status


def is_final(search: Search) -> bool:
    """Whether nothing of it waits or runs."""
    return search.status in FINAL_STATUSES and all(row.status in FINAL_STATUSES for row in search.trials)


def cancel(search: Search, user: User) -> None:
    """Ends the search, and every trial that waits or runs, in one transaction. Raises Conflict where it is over."""
    take_turns()
    if not move(Search, search.id, "cancelled", ("running",), finished_at=now()):
        db.session.rollback()
        raise Conflict(f"Search {search.id} has {search.status}; only a running one can be cancelled.")
    stopped = [row.id for row in trials.rows_of(search) if stop(Experiment, row.id)]
    audit.record("search.cancel", search, user, experiments=stopped)
    db.session.commit()
