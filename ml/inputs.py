"""What goes into the network in a run: pictures, each time changed anew, or the features of a frozen backbone.

Features are computed once for each view of an image; then an epoch costs what its classifier costs.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml.augmentation import augment
from ml.config import Augmentation, TrainConfig
from ml.loader import Batches, Cached, resident
from ml.networks import Halves, Network

_FEATURES_AT_ONCE = 64

Pairs = Iterator[tuple[Tensor, Tensor]]  # inputs and labels_N of one batch, on the device


class Inputs(Protocol):
    """Two sets of labelled inputs, and the way from inputs to logits."""

    def labels(self) -> NDArray[np.int64]:
        """The classes of the training images."""

    def steps(self) -> int:
        """Batches of one epoch."""

    def training(self, epoch: int, generator: torch.Generator) -> Pairs:
        """The batches of one epoch, in an order and with changes that the generator draws."""

    def validation(self) -> Pairs:
        """The images of 'validation', each once, in order."""

    def logits(self, network: Network, inputs: Tensor) -> Tensor:
        """The logits_NK of a batch."""


class Pictures:
    """Images through the whole network."""

    def __init__(self, config: TrainConfig, train: Cached, validation: Cached, device: torch.device) -> None:
        self._settings, self._device, self._validation = config.augmentation, device, validation
        self._train, self._batch_size = train, config.batch_size

    def labels(self) -> NDArray[np.int64]:
        return self._train.labels_N

    def steps(self) -> int:
        return len(Batches(self._train, self._batch_size, torch.Generator()))

    def training(self, epoch: int, generator: torch.Generator) -> Pairs:
        for images_NCHW, labels_N in resident(Batches(self._train, self._batch_size, generator), self._device):
            yield augment(images_NCHW, self._settings, generator), labels_N

    def validation(self) -> Pairs:
        yield from resident(Batches(self._validation, self._batch_size), self._device)

    def logits(self, network: Network, inputs: Tensor) -> Tensor:
        logits_NK: Tensor = network(inputs.contiguous(memory_format=torch.channels_last))
        return logits_NK


class Features:
    """Features of a frozen backbone through the classifier: shape (V, N, F), one view for each epoch in turn."""

    def __init__(
        self,
        config: TrainConfig,
        halves: Halves,
        views_VNF: Tensor,
        train: Cached,
        validation_NF: Tensor,
        validation: Cached,
    ) -> None:
        self._halves = halves
        self._batch_size, self._train, self._views_VNF = config.batch_size, train, views_VNF
        self._validation_NF, self._validation = validation_NF, validation

    def labels(self) -> NDArray[np.int64]:
        return self._train.labels_N

    def steps(self) -> int:
        return len(Batches(self._train, self._batch_size, torch.Generator()))

    def training(self, epoch: int, generator: torch.Generator) -> Pairs:
        view_NF, labels_N = self._views_VNF[(epoch - 1) % len(self._views_VNF)], torch.from_numpy(self._train.labels_N)
        for chosen_N in Batches(self._train, self._batch_size, generator).orders():
            chosen = torch.from_numpy(chosen_N)
            yield view_NF[chosen.to(view_NF.device)], labels_N[chosen].to(view_NF.device)

    def validation(self) -> Pairs:
        labels_N = torch.from_numpy(self._validation.labels_N)
        for chosen_N in Batches(self._validation, self._batch_size).orders():
            some = slice(int(chosen_N[0]), int(chosen_N[-1]) + 1)
            yield self._validation_NF[some], labels_N[some].to(self._validation_NF.device)

    def logits(self, network: Network, inputs: Tensor) -> Tensor:
        return self._halves.logits(network.body, inputs)


def inputs_of(
    config: TrainConfig,
    network: Network,
    train: Cached,
    validation: Cached,
    device: torch.device,
    dtype: torch.dtype,
    report: Callable[[float], None],
) -> Inputs:
    """Features where the network on `device` allows it, else pictures; `report` hears the share that is done.

    One view is the image itself; of several each is changed by the augmentation. The same seed gives the same views,
    whichever worker computes them.
    """
    halves = network.halves
    if halves is None or not network.has_frozen_features:
        return Pictures(config, train, validation, device)
    views = config.feature_views
    total = views * len(train) + len(validation)
    settings = config.augmentation if views > 1 else None

    def features(cached: Cached, changes: Augmentation | None, seed: int, before: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        parts_NF: list[Tensor] = []
        for images_NCHW, _ in resident(Batches(cached, _FEATURES_AT_ONCE), device):
            report((before + sum(map(len, parts_NF))) / total)
            changed_NCHW = augment(images_NCHW, changes, generator) if changes else images_NCHW
            with torch.no_grad(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                pixels_NCHW = network.normalize(changed_NCHW).contiguous(memory_format=torch.channels_last)
                parts_NF.append(halves.features(network.body, pixels_NCHW).float())
        return torch.cat(parts_NF)

    network.eval()
    views_VNF = torch.stack([features(train, settings, config.seed + view, view * len(train)) for view in range(views)])
    return Features(config, halves, views_VNF, train, features(validation, None, 0, views * len(train)), validation)
