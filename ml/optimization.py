"""What moves the weights: optimiser, schedule of the learning rate, loss."""

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ml.config import TrainConfig
from ml.networks import Network, depth_of

_MOMENTUM = 0.9
_TRIANGLE = ((0, 0.23, 1), (0.2, 1, 0.07))  # triangular: shares of the steps, factors there (Jordan 2024)
_RISE = 0.3  # one-cycle: share of the steps until the peak (Smith & Topin 2018, "Super-convergence")
_FIRST, _LAST = 1 / 25, 1e-4  # one-cycle: learning rate at both ends, as a factor of the peak


def optimizer_of(config: TrainConfig, network: Network) -> torch.optim.Optimizer:
    """Over the trainable weights; biases and batch norm are not decayed, as they set no scale of their inputs.

    The rate falls with the distance from the last layer, whose group comes first (Howard & Ruder 2018, "ULMFiT").
    """
    shifts = {module.bias for module in network.modules() if isinstance(module, nn.BatchNorm2d)}
    found: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in network.body.named_parameters():
        if parameter.requires_grad:
            rate = config.learning_rate * config.layer_decay ** depth_of(config, name)
            rate *= config.bias_rate if parameter in shifts else 1
            found[rate, config.weight_decay if parameter.ndim > 1 else 0.0].append(parameter)
    groups = [
        {"params": some, "lr": rate, "weight_decay": decay}
        for (rate, decay), some in sorted(found.items(), reverse=True)
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=_MOMENTUM, nesterov=True, fused=True)
    return torch.optim.AdamW(groups, fused=True)


def schedule_of(
    config: TrainConfig, optimizer: torch.optim.Optimizer, steps_per_epoch: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Stepped after every batch."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate_factor(config, steps_per_epoch))


def rising(optimizer: torch.optim.Optimizer, times: float, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """A rate that is `times` as high in the last of so many steps, by the same factor from each to the next."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: times ** (step / (steps - 1)))


def learning_rate_factor(config: TrainConfig, steps_per_epoch: int) -> Callable[[int], float]:
    """Steps done -> factor of `config.learning_rate`, in (0, 1]."""
    total = config.epochs * steps_per_epoch
    if config.schedule == "one_cycle":
        return lambda step: _one_cycle(min(step / total, 1))
    if config.schedule == "triangular":
        return lambda step: float(np.interp(step / total, *_TRIANGLE))
    warm_up = round(min(config.warmup_epochs, config.epochs / 2) * steps_per_epoch)
    decays: dict[str, Callable[[int], float]] = {
        "constant": lambda step: 1.0,
        "step": lambda step: 0.1 ** (step // (config.step_epochs * steps_per_epoch)),
        "cosine": lambda step: _cosine(1, _LAST, (step - warm_up) / max(1, total - warm_up)),
    }
    decay = decays[config.schedule]
    return lambda step: (step + 1) / (warm_up + 1) if step < warm_up else decay(step)


def _one_cycle(progress: float) -> float:
    if progress < _RISE:
        return _cosine(_FIRST, 1, progress / _RISE)
    return _cosine(1, _LAST, (progress - _RISE) / (1 - _RISE))


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(max(progress, 0), 1))) / 2


def averaged(config: TrainConfig, network: Network) -> AveragedModel | None:
    """A network whose weights follow those of `network` as an exponential moving average; None where that is off.

    The decay grows from 0.1 in the first steps, so that the start is soon forgotten.
    """
    if not config.weight_averaging:
        return None

    def follow(mine: Any, other: Any, steps: Any) -> None:
        decay = min(config.weight_averaging, (1 + float(steps)) / (10 + float(steps)))
        if mine[0].is_floating_point():
            torch._foreach_lerp_(list(mine), list(other), 1 - decay)
        else:  # how many batches were seen
            torch._foreach_copy_(list(mine), list(other))

    return AveragedModel(network, multi_avg_fn=torch.no_grad()(follow), use_buffers=True)


def sampling_weights(config: TrainConfig, labels_N: NDArray[np.int64]) -> Tensor | None:
    """With which weight each image is drawn; None where each comes once in an epoch."""
    if config.class_weighting != "sampler":
        return None
    counts_K = np.bincount(labels_N)
    return torch.from_numpy(1 / counts_K[labels_N])


def loss_of(config: TrainConfig, labels_N: Tensor, classes: int) -> nn.CrossEntropyLoss:
    """Cross-entropy on logits; `balanced` weighs a class by N / (K x images of the class)."""
    weight_K = None
    if config.class_weighting == "balanced":
        weight_K = len(labels_N) / (classes * torch.bincount(labels_N, minlength=classes).clamp(min=1))
    return nn.CrossEntropyLoss(weight_K, label_smoothing=config.label_smoothing)
