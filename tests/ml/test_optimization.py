"""Optimiser, schedule and loss."""

from typing import Any

import numpy as np
import pytest
import torch

from ml import networks
from ml.config import TrainConfig
from ml.optimization import averaged, learning_rate_factor, loss_of, optimizer_of, sampling_weights


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


def _groups(**fields: object) -> list[dict[str, Any]]:
    config = TrainConfig.model_validate(fields)
    return optimizer_of(config, networks.build(config, 2)).param_groups


def test_biases_and_batch_norm_do_not_decay() -> None:
    decayed, free = _groups(weight_decay=0.3)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0)
    assert {weight.ndim for weight in decayed["params"]} == {2, 4}
    assert {weight.ndim for weight in free["params"]} == {1}


def test_frozen_weights_are_not_handed_to_the_optimizer() -> None:
    groups = _groups(network="resnet18", initial_weights="imagenet", trainable_stages=0, optimizer="sgd")
    assert [tuple(weight.shape) for group in groups for weight in group["params"]] == [(2, 512), (2,)]


def test_each_stage_further_from_the_last_layer_learns_slower() -> None:
    groups = _groups(layer_decay=0.5, learning_rate=0.8, weight_decay=0.1)
    rates = sorted({group["lr"] for group in groups}, reverse=True)
    assert rates == pytest.approx([0.8, 0.4, 0.2, 0.1, 0.05])
    assert groups[0]["lr"] == 0.8  # what the page calls the learning rate
    assert tuple(groups[0]["params"][0].shape) == (2, 160)


def test_the_average_follows_the_weights_and_soon_forgets_its_start() -> None:
    config = TrainConfig(weight_averaging=0.99)
    network = networks.build(config, 2)
    average = averaged(config, network)
    assert average is not None
    average.module.body.head.weight.data.fill_(9)
    network.body.head.weight.data.fill_(1)
    for _ in range(60):
        average.update_parameters(network)
    torch.testing.assert_close(average.module.body.head.weight, network.body.head.weight, atol=1e-3, rtol=0)
    network.body.head.weight.data.fill_(2)
    average.update_parameters(network)
    assert 1.05 < average.module.body.head.weight.mean().item() < 1.2
    assert averaged(TrainConfig(), network) is None


def test_the_sampler_draws_each_class_equally_often() -> None:
    labels_N = np.array([0, 0, 0, 1])
    weights_N = sampling_weights(TrainConfig(class_weighting="sampler"), labels_N)
    assert weights_N is not None
    assert weights_N.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])
    assert sampling_weights(TrainConfig(class_weighting="balanced"), labels_N) is None


def test_balanced_weights_are_inverse_to_the_class_frequency() -> None:
    loss = loss_of(TrainConfig(class_weighting="balanced"), torch.tensor([0, 0, 0, 1]), classes=2)
    assert loss.weight is not None
    assert loss.weight.tolist() == pytest.approx([4 / 6, 2])


def test_triangular_rises_and_falls_in_straight_lines() -> None:
    factors = _factors(schedule="triangular", warmup_epochs=20)
    assert [factors[0], factors[23]] == pytest.approx([0.2, 1])
    assert np.allclose(np.diff(factors[:24]), 0.8 / 23)
    assert np.allclose(np.diff(factors[23:]), -0.93 / 77)


def test_the_biases_of_batch_norm_learn_at_their_own_rate() -> None:
    groups = _groups(network="cnn_fast", bias_rate=64, learning_rate=0.125, weight_decay=0.1)
    counts = {group["lr"]: len(group["params"]) for group in groups if not group["weight_decay"]}
    assert counts == {8.0: 6, 0.125: 8}  # six layers of batch norm; their weights and two other biases
