"""torchvision's MobileNetV3: a feature extractor, or fine-tuned where the settings ask for it."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from ml.config import TrainConfig
from ml.halves import SwishHalves
from ml.torchvision_cpu import torchvision

Stages = tuple[tuple[str, ...], ...]
_ALL = 5  # stages before the last one


def _stages(*first: int, blocks: int) -> Stages:
    """The stages that begin at these of the blocks, and the classifier: what works at one resolution is one stage."""
    parts = [f"features.{number}" for number in range(blocks)]
    ends = (*first[1:], blocks)
    return (*(tuple(parts[start:end]) for start, end in zip(first, ends, strict=True)), ("classifier",))


SMALL_STAGES = _stages(0, 1, 2, 4, 9, blocks=13)
LARGE_STAGES = _stages(0, 2, 4, 7, 13, blocks=17)


def body(name: str) -> Callable[[TrainConfig, int], nn.Module]:
    """What makes torchvision's network of this name, for a configuration and so many classes."""
    return lambda config, classes: getattr(torchvision.models, name)(num_classes=classes, dropout=config.dropout)


def frozen(stages: Stages) -> Callable[[TrainConfig], Sequence[str]]:
    """What never learns: all before the classifier, unless a setting of the stages says otherwise."""

    def of(config: TrainConfig) -> list[str]:
        is_tuned = config.trainable_stages < _ALL or config.layer_decay < 1 or config.unfreeze_epochs > 0
        return [part for stage in stages[: _ALL - config.trainable_stages * is_tuned] for part in stage]

    return of


def _grid(body: Any, images_NCHW: Tensor) -> Tensor:
    grid_NCHW: Tensor = body.features(images_NCHW)
    return grid_NCHW


HALVES = SwishHalves(_grid, "classifier")
