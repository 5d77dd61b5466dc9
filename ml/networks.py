"""The networks: one function each, and its name in the registry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ml import efficientnet, fast_network, mobilenet
from ml.config import TrainConfig
from ml.fast_network import Whitening
from ml.halves import Halves
from ml.loader import Picked
from ml.torchvision_cpu import torchvision
from ml.views import SAME, View, views

# Of ImageNet's training set; torchvision's networks expect them, the small one does not mind.
MEAN_RGB = (0.485, 0.456, 0.406)
STD_RGB = (0.229, 0.224, 0.225)
_LOOKED_AT = 500  # images, spread over all: patches of them are half a million and more


class Normalize(nn.Module):
    """Images in [0, 255] -> pixels as the network expects them, by these statistics; inside every exported graph."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean_rgb: Sequence[float] = MEAN_RGB, std_rgb: Sequence[float] = STD_RGB) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(mean_rgb).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std_rgb).view(1, 3, 1, 1), persistent=False)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        return (images_NCHW.float() - self.mean) / self.std


class Network(nn.Module):
    """Images (uint8, or float in [0, 255]) -> logits_NK. Frozen parts neither learn nor move their statistics."""

    def __init__(
        self,
        body: nn.Module,
        head: str,
        frozen: Sequence[str] = (),
        *,
        halves: Halves,
        views: Sequence[View] = (SAME,),
        normalize: Normalize | None = None,
    ) -> None:
        """`body` keeps the parameter names of its architecture; `head` is the name of its last layer.

        In evaluation mode the logits are the mean of those of all `views` of the image.
        """
        super().__init__()
        self.normalize = normalize or Normalize()
        self.body = body
        self.head = head
        self.frozen = tuple(frozen)
        self.halves = halves
        self.views = tuple(views)
        self._waiting: tuple[str, ...] = ()
        for part in self._parts(self.frozen):
            part.requires_grad_(False)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        pixels_NCHW = self.normalize(images_NCHW)
        if self.training or len(self.views) == 1:
            return self.body(pixels_NCHW)
        return torch.stack([self.body(view.of(pixels_NCHW)) for view in self.views]).mean(dim=0)

    @property
    def has_frozen_features(self) -> bool:
        """Whether nothing before the classifier learns: its features need to be computed only once."""
        learning = [name for name, parameter in self.body.named_parameters() if parameter.requires_grad]
        return all(name.startswith(self.halves.classifier + ".") for name in learning)

    def train(self, mode: bool = True) -> Self:
        """Like nn.Module.train, but frozen parts stay in evaluation mode: batch norm must not follow the new data."""
        super().train(mode)
        for part in self._parts((*self.frozen, *self._waiting)):
            part.eval()
        return self

    def let_wait(self, parts: Sequence[str]) -> None:
        """These parts are frozen for now, beside those that always are; whatever waited before learns again."""
        for part in self._parts(self._waiting):
            part.requires_grad_(True)
        self._waiting = tuple(name for name in parts if name not in self.frozen)
        for part in self._parts(self._waiting):
            part.requires_grad_(False)
        self.train(self.training)

    def _parts(self, names: Sequence[str]) -> list[nn.Module]:
        return [self.body.get_submodule(name) for name in names]


@dataclass(frozen=True)
class Architecture:
    """A body for (configuration, number of classes), its last layer, its parts by stage from the input to the last
    layer, its halves, what stays frozen, where ImageNet weights are: at an address, or in the file of a package, whose
    tensors come in the order of the body's under names of their own.
    """

    body: Callable[[TrainConfig, int], nn.Module]
    head: str
    stages: tuple[tuple[str, ...], ...]
    halves: Halves
    frozen: Callable[[TrainConfig], Sequence[str]] = lambda config: ()
    imagenet_url: str = ""
    imagenet_file: Callable[[], Path] | None = None
    normalize: Callable[[], Normalize] = Normalize


class _Stage(nn.Module):
    """Two 3x3 convolutions with a shortcut, then half the side."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.first = _convolution(channels_in, channels_out)
        self.second = _convolution(channels_out, channels_out)
        self.pool = nn.MaxPool2d(2)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        wide_NCHW = self.first(images_NCHW)
        return self.pool(wide_NCHW + self.second(wide_NCHW))


def _convolution(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    side = max(3, 2 * stride - 1)  # a larger stride needs a larger kernel, or pixels between its steps go unseen
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, side, stride=stride, padding=side // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def _stem_stride(image_size_px: int) -> int:
    """The power of two that brings the image to a grid of 32 to 63 cells a side: any size costs about the same."""
    return 2 ** max(0, (image_size_px // 32).bit_length() - 1)


def _small_network(config: TrainConfig, classes: int) -> nn.Module:
    """Four stages, global average pooling, one linear layer: about 0.6 million parameters."""
    widths = (32, 48, 96, 160)
    stages = [_Stage(before, after) for before, after in pairwise(widths)]
    body = nn.Sequential()
    body.add_module("stem", _convolution(3, widths[0], _stem_stride(config.image_size_px)))
    body.add_module("stages", nn.Sequential(*stages))
    body.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(config.dropout)))
    body.add_module("head", nn.Linear(widths[-1], classes))
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return body


def _small_network_grid(body: Any, images_NCHW: Tensor) -> Tensor:
    grid_NCHW: Tensor = body.stages(body.stem(images_NCHW))
    return grid_NCHW


_SMALL_NETWORK = Halves(_small_network_grid, "head", "pool.2")


def _fast_network(config: TrainConfig, classes: int) -> nn.Module:
    return fast_network.body(_stem_stride(config.image_size_px), config.dropout, classes)


def _resnet18(config: TrainConfig, classes: int) -> nn.Module:
    """torchvision's ResNet18; dropout sits in the pooling, so that parameter names stay torchvision's."""
    body = torchvision.models.resnet18(num_classes=classes)
    body.avgpool = nn.Sequential(body.avgpool, nn.Dropout(config.dropout))
    return body


def _resnet18_grid(body: Any, images_NCHW: Tensor) -> Tensor:
    grid_NCHW = body.maxpool(body.relu(body.bn1(body.conv1(images_NCHW))))
    for stage in (body.layer1, body.layer2, body.layer3, body.layer4):
        grid_NCHW = stage(grid_NCHW)
    return grid_NCHW


_RESNET18 = Halves(_resnet18_grid, "fc", "avgpool.1")

_RESNET18_STAGES = (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",), ("fc",))


def _all_but_trainable(stages: Sequence[Sequence[str]]) -> Callable[[TrainConfig], Sequence[str]]:
    return lambda config: [part for stage in stages[: 5 - config.trainable_stages] for part in stage]


_SMALL_STAGES = (("stages.0",), ("stages.1",), ("stages.2",), ("head",))
_DOWNLOADS = "https://download.pytorch.org/models/"

REGISTRY: dict[str, Architecture] = {
    "cnn": Architecture(_small_network, "head", (("stem",), *_SMALL_STAGES), _SMALL_NETWORK),
    "cnn_fast": Architecture(_fast_network, "head", (("whitening",), *_SMALL_STAGES), fast_network.HALVES),
    "resnet18": Architecture(
        _resnet18,
        "fc",
        _RESNET18_STAGES,
        _RESNET18,
        _all_but_trainable(_RESNET18_STAGES),
        _DOWNLOADS + "resnet18-f37072fd.pth",
    ),
    "mobilenet_v3_small": Architecture(
        mobilenet.body("mobilenet_v3_small"),
        "classifier.3",
        mobilenet.SMALL_STAGES,
        mobilenet.HALVES,
        mobilenet.frozen(mobilenet.SMALL_STAGES),
        _DOWNLOADS + "mobilenet_v3_small-047dcff4.pth",
    ),
    "mobilenet_v3_large": Architecture(
        mobilenet.body("mobilenet_v3_large"),
        "classifier.3",
        mobilenet.LARGE_STAGES,
        mobilenet.HALVES,
        mobilenet.frozen(mobilenet.LARGE_STAGES),
        _DOWNLOADS + "mobilenet_v3_large-5c1a4163.pth",
    ),
    "efficientnet_lite0": Architecture(
        efficientnet.body,
        "classifier",
        efficientnet.STAGES,
        efficientnet.HALVES,
        _all_but_trainable(efficientnet.STAGES),
        imagenet_file=efficientnet.imagenet_file,
        normalize=lambda: Normalize(efficientnet.MEAN_RGB, efficientnet.STD_RGB),
    ),
}


def build(config: TrainConfig, classes: int) -> Network:
    """The network of this configuration with random weights from torch's generator, for so many classes.

    Without initial weights nothing is frozen: random features are not worth keeping. Raises MissingPackage.
    """
    architecture = REGISTRY[config.network]
    frozen = () if config.initial_weights == "none" else architecture.frozen(config)
    body = architecture.body(config, classes)
    normalize, judged = architecture.normalize(), views(config.flip_at_test, config.shift_at_test)
    return Network(body, architecture.head, frozen, halves=architecture.halves, views=judged, normalize=normalize)


def look_at_images(network: Network, images_NCHW: NDArray[np.uint8] | Picked) -> None:
    """Lets a network that begins with random weights take from training images what is not learnt by steps."""
    for module in network.modules():
        if isinstance(module, Whitening):
            chosen = np.linspace(0, len(images_NCHW) - 1, min(len(images_NCHW), _LOOKED_AT)).astype(int)
            module.learn(network.normalize(torch.from_numpy(images_NCHW[chosen])))


def waiting_parts(config: TrainConfig, epoch: int) -> list[str]:
    """What gradual unfreezing still keeps from learning in this epoch (Howard & Ruder 2018, "ULMFiT")."""
    stages = REGISTRY[config.network].stages
    if not config.unfreeze_epochs:
        return []
    learning = 1 + (epoch - 1) // config.unfreeze_epochs
    return [part for stage in stages[: max(0, len(stages) - learning)] for part in stage]


def depth_of(config: TrainConfig, name: str) -> int:
    """How many stages lie between a weight of the body and the last layer's stage."""
    stages = REGISTRY[config.network].stages
    found = [at for at, stage in enumerate(stages) if any(name.startswith(f"{part}.") for part in stage)]
    return len(stages) - 1 - found[0]


def count_parameters(network: nn.Module) -> int:
    """Number of weights, frozen ones included."""
    return sum(parameter.numel() for parameter in network.parameters())
