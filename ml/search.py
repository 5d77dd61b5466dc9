"""The next trial of a search, when to give one up, and what mattered: Optuna, asked anew from the trials so far.

Optuna keeps nothing: its study lives in memory for one question. So there is one truth about each trial, and whoever
asks first after a lost worker gets the same answer. Free of torch; a second to import.
"""

from collections.abc import Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from ml.space import Dimension, Plan, Trial, Value, is_whole

optuna.logging.set_verbosity(optuna.logging.WARNING)
LEAST_TO_WEIGH = 6  # finished trials before the importance of a setting is more than a guess
UNPRUNED_TRIALS = 4  # that the median needs before it stops a later one
UNPRUNED_EPOCHS = 1  # in which the median stops none
KEPT = 3  # successive halving: one of so many goes on
RUNGS = (1, 3, 9, 27, 81, 243, 729)  # the epochs after which it decides
_STATES = {
    "running": TrialState.RUNNING,
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


def next_values(plan: Plan, trials: Sequence[Trial]) -> dict[str, Value]:
    """What to try next: drawn at random at first, then by a tree-structured Parzen estimator (Bergstra et al. 2011).

    The same trials so far give the same values; those that still run count as if they will end badly.
    """
    return dict(_study(plan, trials).ask(_distributions(plan)).params)


def is_hopeless(plan: Plan, trials: Sequence[Trial], number: int) -> bool:
    """Whether the running trial (from 1) shall be given up after its newest epoch."""
    if plan.pruning == "none":
        return False
    if plan.pruning == "halving":
        return _is_halved(plan, trials, number)
    study = _study(plan, trials)
    median = optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED_TRIALS, n_warmup_steps=UNPRUNED_EPOCHS)
    return bool(median.prune(study, study.get_trials(deepcopy=False)[number - 1]))


def _is_halved(plan: Plan, trials: Sequence[Trial], number: int) -> bool:
    """Asynchronous successive halving (Li et al. 2018, "Massively Parallel Hyperparameter Tuning"), one bracket.

    After 1, 3, 9, ... epochs only the best third of the trials that came so far goes on. Optuna's own pruner of that
    kind keeps a memory beside the scores.
    """
    mine = trials[number - 1].score_by_epoch
    epoch = max(mine, default=0)
    if epoch not in RUNGS:
        return False
    rivals = [trial.score_by_epoch[epoch] for trial in trials if epoch in trial.score_by_epoch]
    rivals.sort(reverse=plan.metric != "loss")
    return rivals.index(mine[epoch]) >= max(1, len(rivals) // KEPT)


def best(plan: Plan, trials: Sequence[Trial]) -> int | None:
    """The number (from 1) of the finished trial of the best score."""
    sign = -1 if plan.metric == "loss" else 1
    scored = [(sign * trial.score, -number) for number, trial in enumerate(trials, 1) if trial.score is not None]
    return -max(scored)[1] if scored else None


def importance(plan: Plan, trials: Sequence[Trial]) -> dict[str, float]:
    """The share of each setting in what sets the best trials apart (PED-ANOVA, Watanabe et al. 2023), largest first.

    Empty while fewer than six trials have finished.
    """
    if sum(trial.state == "finished" for trial in trials) < LEAST_TO_WEIGH:
        return {}
    return optuna.importance.get_param_importances(_study(plan, trials))


def _study(plan: Plan, trials: Sequence[Trial]) -> optuna.Study:
    study = optuna.create_study(
        direction="minimize" if plan.metric == "loss" else "maximize",
        sampler=optuna.samplers.TPESampler(seed=_seed(plan, trials)),
    )
    distributions = _distributions(plan)
    study.add_trials([_frozen(trial, distributions) for trial in trials])
    return study


def _seed(plan: Plan, trials: Sequence[Trial]) -> int:
    """One for each trial of each search, far from those of its neighbours."""
    return int(np.random.SeedSequence([plan.seed, len(trials)]).generate_state(1)[0])


def _frozen(trial: Trial, distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    last = trial.score_by_epoch.get(max(trial.score_by_epoch, default=0))
    return create_trial(
        state=_STATES[trial.state],
        params=trial.values,
        distributions=distributions,
        value={"finished": trial.score, "pruned": last}.get(trial.state),
        intermediate_values=trial.score_by_epoch,
    )


def _distributions(plan: Plan) -> dict[str, BaseDistribution]:
    return {name: _distribution(name, dimension) for name, dimension in plan.space.items()}


def _distribution(name: str, dimension: Dimension) -> BaseDistribution:
    if dimension.low is None or dimension.high is None:
        return CategoricalDistribution(dimension.choices)
    if is_whole(name):
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.is_log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.is_log)
