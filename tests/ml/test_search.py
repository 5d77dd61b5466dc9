"""What a search tries next, what it gives up, and what it says mattered."""

import math

import pytest
from pydantic import ValidationError

from ml import search, space
from ml.config import TrainConfig
from ml.errors import BadConfig
from ml.space import SENSIBLE, Dimension, Plan, Trial

PLAN = Plan(trials=40, space={name: SENSIBLE[name] for name in ("learning_rate", "optimizer", "batch_size")})


def judged(values: dict[str, space.Value]) -> Trial:
    """A trial that scores the better the nearer its rate is to 0.003; nothing else counts."""
    score = 1 - abs(math.log10(float(values["learning_rate"])) + 2.5) / 5
    return Trial(values, "finished", {1: score, 2: score}, score)


def drawn(count: int) -> list[Trial]:
    found: list[Trial] = []
    for _ in range(count):
        found.append(judged(search.next_values(PLAN, found)))
    return found


def test_a_search_comes_nearer_than_its_random_beginning_and_names_what_mattered() -> None:
    trials = drawn(25)
    first, later = trials[:10], trials[15:]
    assert sum(trial.score for trial in later) / 10 > sum(trial.score for trial in first) / 10
    assert next(iter(search.importance(PLAN, trials))) == "learning_rate"
    number = search.best(PLAN, trials)
    assert trials[number - 1].score == max(trial.score for trial in trials)


def test_the_same_trials_give_the_same_next_values_and_another_seed_others() -> None:
    trials = drawn(3)
    again = search.next_values(PLAN, trials)
    assert again == search.next_values(PLAN, trials)
    assert again != search.next_values(PLAN.model_copy(update={"seed": 9}), trials)


def test_trials_that_run_or_failed_are_taken_into_account() -> None:
    values = drawn(1)[0].values
    trials = [Trial(values, "running", {1: 0.5}), Trial(values, "failed"), Trial(values, "pruned", {1: 0.2})]
    assert search.next_values(PLAN, trials).keys() == PLAN.space.keys()
    assert search.best(PLAN, trials) is None
    assert search.importance(PLAN, trials) == {}


@pytest.mark.parametrize(
    ("metric", "score", "is_given_up"), [("auc", 0.5, True), ("auc", 0.9, False), ("loss", 0.9, True)]
)
def test_a_trial_worse_than_the_median_is_given_up(metric: str, score: float, is_given_up: bool) -> None:
    plan = PLAN.model_copy(update={"metric": metric})
    values = drawn(1)[0].values
    others = [Trial(values, "finished", {1: 0.7, 2: 0.7, 3: 0.7}, 0.7) for _ in range(search.UNPRUNED_TRIALS)]
    trials = [*others, Trial(values, "running", {1: score, 2: score})]
    assert search.is_hopeless(plan, trials, len(trials)) is is_given_up
    never = plan.model_copy(update={"pruning": "none"})
    assert not search.is_hopeless(never, trials, len(trials))


def test_halving_lets_a_third_of_those_that_came_so_far_go_on() -> None:
    plan, values = PLAN.model_copy(update={"pruning": "halving"}), drawn(1)[0].values
    rivals = [Trial(values, "running", {1: 0.5 + number / 100}) for number in range(9)]
    assert [number for number in range(1, 10) if not search.is_hopeless(plan, rivals, number)] == [7, 8, 9]
    between = [*rivals, Trial(values, "running", {1: 0.1, 2: 0.1})]
    assert not search.is_hopeless(plan, between, 10)


def test_every_sensible_value_is_allowed_by_the_configuration() -> None:
    plan, config = Plan(space=SENSIBLE), TrainConfig()
    space.check(plan, config)
    values = search.next_values(plan, [])
    made = space.with_values(config, values)
    assert space.values_of(made.model_dump(mode="json"), SENSIBLE) == values
    assert isinstance(made.batch_size, int)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({}, "at least one"),
        ({"epochs": {"low": 1, "high": 3}}, "is no setting"),
        ({"dropout": {"low": 0.1, "high": 2}}, "less than 1"),
        ({"optimizer": {"low": 0, "high": 1}}, "must be choices"),
        ({"optimizer": {"choices": ["sgd", "adam"]}}, "'sgd' or 'adamw'"),
        ({"image_size_px": {"choices": [16, 64]}}, "at least 32 px"),
        ({"image_size_px": {"choices": ["64", 96]}}, "write it as 64"),
        ({"augmentation.horizontal_flip": {"choices": ["true", False]}}, "write it as true"),
        ({"trainable_stages": {"low": 0.5, "high": 5, "is_log": True}}, "valid integer"),
        ({"batch_size": {"low": 8, "high": 16}}, "while 2 devices share"),
    ],
)
def test_a_space_that_cannot_be_used_is_explained(chosen: dict[str, dict[str, object]], message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        space.check(Plan.model_validate({"space": chosen}), TrainConfig(network="resnet18", devices=2))


@pytest.mark.parametrize(
    "dimension",
    [
        {"low": 2, "high": 1},
        {"low": 0, "high": 1, "is_log": True},
        {"low": 2, "high": math.inf},
        {"choices": ["sgd"]},
        {"low": 1},
        {},
    ],
)
def test_a_dimension_is_a_range_or_choices(dimension: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Dimension.model_validate(dimension)


def test_a_dimension_without_values_asks_for_either_kind() -> None:
    with pytest.raises(ValidationError, match="Choose two values or more, or give the lowest"):
        Dimension()
