"""What goes into the network in a run: pictures, each time changed anew, or the features of a frozen backbone.

Features are computed once for each view of an image; then an epoch costs what its classifier costs.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ml import optimization
from ml.augmentation import augment
from ml.config import Augmentation, TrainConfig
from ml.loader import Batches, Cached, resident
from ml.networks import Halves, Network
from ml.share import ALONE, Share
from ml.views import SAME, View

_FEATURES_AT_ONCE = 64

Pairs = Generator[tuple[Tensor, Tensor], None, None]  # inputs and labels_N of one batch, on the device


class Inputs(ABC):
    """Two sets of labelled inputs, and the way from inputs to logits."""

    def __init__(self, config: TrainConfig, train: Cached, validation: Cached, share: Share = ALONE) -> None:
        self._batch_size, self._train, self._validation = config.batch_size, train, validation
        self._share = share
        self._weights_N = optimization.sampling_weights(config, train.labels_N)

    def labels(self) -> NDArray[np.int64]:
        """The classes of the training images."""
        return self._train.labels_N

    def steps(self) -> int:
        """Batches of one epoch."""
        return len(self._drawn(torch.Generator()))

    def _drawn(self, generator: torch.Generator, mirrored_N: NDArray[np.bool_] | None = None) -> Batches:
        return Batches(self._train, self._batch_size, generator, self._weights_N, self._share, mirrored_N)

    @abstractmethod
    def training(self, epoch: int, generator: torch.Generator) -> Pairs:
        """The batches of one epoch, in an order and with changes that the generator draws."""

    @abstractmethod
    def validation(self) -> Pairs:
        """The images of 'validation', each once, in order."""

    @abstractmethod
    def logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """The logits_NK of a batch."""


class Pictures(Inputs):
    """Images through the whole network."""

    def __init__(
        self, config: TrainConfig, train: Cached, validation: Cached, device: torch.device, share: Share = ALONE
    ) -> None:
        super().__init__(config, train, validation, share)
        self._settings, self._device = config.augmentation, device
        self._first_N: NDArray[np.int64] | None = None
        if self._settings.alternating_flip:
            self._first_N = np.random.default_rng(config.seed).integers(2, size=len(train))
            self._settings = self._settings.model_copy(update={"horizontal_flip": False})

    def training(self, epoch: int, generator: torch.Generator) -> Pairs:
        # Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds": chance shows some images the same way several times in a row.
        mirrored_N = None if self._first_N is None else (self._first_N + epoch) % 2 == 1
        for images_NCHW, labels_N in resident(self._drawn(generator, mirrored_N), self._device):
            yield augment(images_NCHW, self._settings, generator, self._share), labels_N

    def validation(self) -> Pairs:
        yield from resident(Batches(self._validation, self._batch_size), self._device)

    def logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        logits_NK: Tensor = network(inputs.contiguous(memory_format=torch.channels_last))
        return logits_NK


class Features(Inputs):
    """Features of a frozen backbone through the classifier: shape (V, N, F), one view for each epoch in turn.

    Of 'validation' all views count together: the mean of their logits, as the whole network has it.
    """

    def __init__(
        self,
        config: TrainConfig,
        halves: Halves,
        views_VNF: Tensor,
        train: Cached,
        validation_VNF: Tensor,
        validation: Cached,
    ) -> None:
        super().__init__(config, train, validation)
        self._halves, self._views_VNF, self._validation_VNF = halves, views_VNF, validation_VNF

    def training(self, epoch: int, generator: torch.Generator) -> Pairs:
        view_NF, labels_N = self._views_VNF[(epoch - 1) % len(self._views_VNF)], torch.from_numpy(self._train.labels_N)
        for chosen_N in self._drawn(generator).orders():
            chosen = torch.from_numpy(chosen_N)
            yield view_NF[chosen.to(view_NF.device)], labels_N[chosen].to(view_NF.device)

    def validation(self) -> Pairs:
        labels_N = torch.from_numpy(self._validation.labels_N)
        for chosen_N in Batches(self._validation, self._batch_size).orders():
            some = slice(int(chosen_N[0]), int(chosen_N[-1]) + 1)
            yield self._validation_VNF[:, some], labels_N[some].to(self._validation_VNF.device)

    def logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        views_VNF = inputs if inputs.ndim == 3 else inputs[None]
        return torch.stack([self._halves.logits(network.body, view_NF) for view_NF in views_VNF]).mean(dim=0)


def inputs_of(
    config: TrainConfig,
    network: Network,
    train: Cached,
    validation: Cached,
    device: torch.device,
    dtype: torch.dtype,
    report: Callable[[float], None],
    share: Share = ALONE,
) -> Inputs:
    """Features where the network on `device` allows it, else pictures; `report` hears the share that is done.

    One view is the image itself; of several each is changed by the augmentation. The same seed gives the same views,
    whichever worker computes them.
    """
    halves = network.halves
    if not network.has_frozen_features:
        return Pictures(config, train, validation, device, share)
    passes = _Passes(network, halves, device, dtype, report)
    passes.total = config.feature_views * len(train) + len(network.views) * len(validation)
    settings = config.augmentation if config.feature_views > 1 else None
    views = [passes.features(train, settings, config.seed + view) for view in range(config.feature_views)]
    judged = [passes.features(validation, None, 0, view) for view in network.views]
    return Features(config, halves, torch.stack(views), train, torch.stack(judged), validation)


class _Passes:
    """Passes of images through a frozen backbone, counted together."""

    total = 0

    def __init__(
        self,
        network: Network,
        halves: Halves,
        device: torch.device,
        dtype: torch.dtype,
        report: Callable[[float], None],
    ) -> None:
        self._network, self._halves, self._device, self._dtype = network.eval(), halves, device, dtype
        self._report, self._done = report, 0

    @torch.no_grad()
    def features(self, cached: Cached, changes: Augmentation | None, seed: int, view: View = SAME) -> Tensor:
        """The features_NF of all images, each changed as the seed draws."""
        generator, parts_NF = torch.Generator().manual_seed(seed), []
        for images_NCHW, _ in resident(Batches(cached, _FEATURES_AT_ONCE), self._device):
            self._report(self._done / self.total)
            changed_NCHW = augment(images_NCHW, changes, generator) if changes else images_NCHW
            pixels_NCHW = view.of(self._network.normalize(changed_NCHW))
            with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
                pixels_NCHW = pixels_NCHW.contiguous(memory_format=torch.channels_last)
                parts_NF.append(self._halves.features(self._network.body, pixels_NCHW).float())
            self._done += len(images_NCHW)
        return torch.cat(parts_NF)
