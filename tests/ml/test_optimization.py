"""Optimiser, schedule and loss."""

import pytest
import torch
from torch import nn

from ml.config import TrainConfig
from ml.optimization import learning_rate_factor, loss_of, optimizer_of


def _factors(**fields: object) -> list[float]:
    config = TrainConfig.model_validate({"epochs": 10, "warmup_epochs": 0, **fields})
    factor = learning_rate_factor(config, steps_per_epoch=10)
    return [factor(step) for step in range(100)]


def test_constant_stays() -> None:
    assert set(_factors(schedule="constant")) == {1}


def test_step_divides_by_ten() -> None:
    factors = _factors(schedule="step", step_epochs=4)
    assert [factors[0], factors[39], factors[40], factors[80]] == pytest.approx([1, 1, 0.1, 0.01])


def test_cosine_is_half_way_down_in_the_middle() -> None:
    factors = _factors(schedule="cosine")
    assert factors[0] == 1
    assert factors[50] == pytest.approx(0.5, abs=0.01)
    assert factors[99] < 0.01


def test_one_cycle_rises_to_its_peak_at_30_percent_and_falls() -> None:
    factors = _factors(schedule="one_cycle")
    assert factors[0] == pytest.approx(1 / 25)
    assert factors.index(max(factors)) == 30
    assert factors[99] < 0.01


def test_warm_up_rises_in_even_steps() -> None:
    factors = _factors(schedule="cosine", warmup_epochs=1)
    assert factors[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert factors[10] == 1


def test_warm_up_takes_at_most_half_of_the_run() -> None:
    factors = _factors(schedule="constant", warmup_epochs=8)
    assert factors[49] < 1
    assert set(factors[50:]) == {1}


def test_biases_and_batch_norm_do_not_decay() -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    decayed, free = optimizer_of(TrainConfig(weight_decay=0.3), network).param_groups
    assert decayed["weight_decay"] == 0.3
    assert [tuple(p.shape) for p in decayed["params"]] == [(3, 4)]
    assert free["weight_decay"] == 0
    assert len(free["params"]) == 3


def test_frozen_weights_are_not_handed_to_the_optimizer() -> None:
    network = nn.Linear(4, 3).requires_grad_(False)
    network.bias.requires_grad_(True)
    groups = optimizer_of(TrainConfig(optimizer="sgd"), network).param_groups
    assert [len(group["params"]) for group in groups] == [0, 1]


def test_balanced_weights_are_inverse_to_the_class_frequency() -> None:
    loss = loss_of(TrainConfig(class_weighting="balanced"), torch.tensor([0, 0, 0, 1]), classes=2)
    assert loss.weight is not None
    assert loss.weight.tolist() == pytest.approx([4 / 6, 2])
