"""What moves the weights: optimiser, schedule of the learning rate, loss."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ml.config import TrainConfig

_MOMENTUM = 0.9
_RISE = 0.3  # one-cycle: share of the steps until the peak (Smith & Topin 2018, "Super-convergence")
_FIRST, _LAST = 1 / 25, 1e-4  # one-cycle: learning rate at both ends, as a factor of the peak


def optimizer_of(config: TrainConfig, network: nn.Module) -> torch.optim.Optimizer:
    """Over the trainable weights; biases and batch norm are not decayed, as they set no scale of their inputs."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trainable if parameter.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [parameter for parameter in trainable if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=_MOMENTUM, nesterov=True)
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def schedule_of(
    config: TrainConfig, optimizer: torch.optim.Optimizer, steps_per_epoch: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Stepped after every batch."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, learning_rate_factor(config, steps_per_epoch))


def learning_rate_factor(config: TrainConfig, steps_per_epoch: int) -> Callable[[int], float]:
    """Steps done -> factor of `config.learning_rate`, in (0, 1]."""
    total = config.epochs * steps_per_epoch
    if config.schedule == "one_cycle":
        return lambda step: _one_cycle(min(step / total, 1))
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


def loss_of(config: TrainConfig, labels_N: Tensor, classes: int) -> nn.CrossEntropyLoss:
    """Cross-entropy on logits; `balanced` weighs a class by N / (K x images of the class)."""
    weight_K = None
    if config.class_weighting == "balanced":
        weight_K = len(labels_N) / (classes * torch.bincount(labels_N, minlength=classes).clamp(min=1))
    return nn.CrossEntropyLoss(weight_K, label_smoothing=config.label_smoothing)
