"""Starting points for a training: for each network a quick look, a solid run, and the best that is known here; and one
for many images in few epochs.

They fit a data set of about a thousand training images. A larger one is gone through less often. An epoch of a small
one still has a few steps, by smaller batches, and a quick look from scratch takes twice the epochs: docs/training.md
has what that was measured to gain.
"""

import math
from typing import Any, NamedTuple

from ml.config import TrainConfig

USUAL_IMAGES, SMALL_IMAGES = 1_000, 300
_STEPS, _LEAST_BATCH = 4, 8  # an epoch has so many batches, unless they would have to be smaller than the least

_BEST: dict[str, Any] = {
    "label_smoothing": 0.1,
    "weight_averaging": 0.99,
    "flip_at_test": True,
    "augmentation": {"crop_scale": 0.6, "color_jitter": 0.2, "random_erasing": 0.25},
}
_CNN: dict[str, Any] = {"network": "cnn", "schedule": "one_cycle"}
# Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds": the rate is in proportion to the batch size.
_FAST: dict[str, Any] = {
    "network": "cnn_fast",
    "image_size_px": 32,
    "batch_size": 128,
    "optimizer": "sgd",
    "learning_rate": 0.125,
    "bias_rate": 64,
    "weight_decay": 0.0013,
    "schedule": "triangular",
    "dropout": 0,
    "label_smoothing": 0.2,
    "weight_averaging": 0.99,
    "flip_at_test": True,
    "shift_at_test": True,
    "augmentation": {
        "alternating_flip": True,
        "shift_px": 2,
        "crop_scale": 1,
        "rotation_degrees": 0,
        "color_jitter": 0,
    },
}
_RESNET18: dict[str, Any] = {
    "network": "resnet18",
    "initial_weights": "imagenet",
    "image_size_px": 224,
    "learning_rate": 5e-4,
    "schedule": "one_cycle",
    "label_smoothing": 0.1,
}
_MOBILENET: dict[str, Any] = {
    "network": "mobilenet_v3_small",
    "initial_weights": "imagenet",
    "image_size_px": 224,
    "learning_rate": 3e-3,
    "schedule": "cosine",
}
_EFFICIENTNET: dict[str, Any] = {
    "network": "efficientnet_lite0",
    "initial_weights": "imagenet",
    "image_size_px": 224,
    "batch_size": 16,
    "learning_rate": 1.5e-3,
    "layer_decay": 0.5,
    "trainable_stages": 3,
    "schedule": "one_cycle",
    "label_smoothing": 0.1,
}
# name: (title, what it is for, epochs, fewest epochs, fields)
_ALL: dict[str, tuple[str, str, int, int, dict[str, Any]]] = {
    "cnn-quick": (
        "Small network, quick look",
        "To see whether there is anything to learn",
        8, 2, _CNN | {"learning_rate": 3e-3},
    ),
    "cnn-solid": (
        "Small network, solid",
        "From scratch, long enough to learn most of what it can",
        30, 6, _CNN | {"learning_rate": 2e-3},
    ),
    "cnn-best": (
        "Small network, best",
        "Larger images, averaged weights, stronger changes of the images",
        80, 20, _CNN | _BEST | {"learning_rate": 2e-3, "image_size_px": 96},
    ),
    "resnet18-quick": (
        "ResNet18, quick look",
        "The last two stages from ImageNet weights at 128 px",
        4, 2, _RESNET18 | {"image_size_px": 128, "trainable_stages": 2},
    ),
    "resnet18-solid": (
        "ResNet18, solid",
        "All layers from ImageNet weights at 224 px",
        15, 4, _RESNET18,
    ),
    "resnet18-best": (
        "ResNet18, best",
        "Slower rates in early stages, averaged weights, mirror images at test",
        30, 8, _RESNET18 | _BEST | {"layer_decay": 0.75},
    ),
    "mobilenet-quick": (
        "MobileNetV3, quick look",
        "Frozen ImageNet features, a new head: fast on any processor",
        20, 10, _MOBILENET,
    ),
    "mobilenet-solid": (
        "MobileNetV3, solid",
        "Four views of each image through the frozen features",
        40, 12, _MOBILENET | {"feature_views": 4},
    ),
    "mobilenet-best": (
        "MobileNetV3, best",
        "The large network, eight views, averaged weights, mirror images at test",
        60, 16, _MOBILENET | _BEST | {"network": "mobilenet_v3_large", "feature_views": 8},
    ),
    "efficientnet-quick": (
        "EfficientNet-Lite0, quick look",
        "The last stage from ImageNet weights that come as a package, at 160 px",
        3, 2, _EFFICIENTNET | {"image_size_px": 160, "trainable_stages": 1},
    ),
    "efficientnet-solid": (
        "EfficientNet-Lite0, solid",
        "The last three stages at 224 px, each earlier one at half the rate",
        5, 3, _EFFICIENTNET,
    ),
    "efficientnet-best": (
        "EfficientNet-Lite0, best",
        "Averaged weights, stronger changes of the images, mirror images at test",
        8, 4, _EFFICIENTNET | _BEST,
    ),
    "cnn-fast": (
        "Small network, fast",
        "Few epochs on many images, by what the speed records on CIFAR-10 teach",
        60, 10, _FAST,
    ),
}  # fmt: skip


class Preset(NamedTuple):
    """A named configuration, and what it is for."""

    title: str
    purpose: str
    config: TrainConfig


def presets(images: int = USUAL_IMAGES) -> dict[str, Preset]:
    """The presets for a data set with so many training images, by name: `NETWORK-LEVEL`."""
    found = {}
    for name, (title, purpose, epochs, fewest, fields) in _ALL.items():
        longest = max(fewest, round(epochs * _share(name, images)))
        fitted = {"epochs": longest, "batch_size": _batch_size(fields, images)}
        found[name] = Preset(title, purpose, TrainConfig.model_validate(fields | fitted))
    return found


def _share(name: str, images: int) -> float:
    """Of the usual epochs."""
    if name == "cnn-quick" and images < SMALL_IMAGES:
        return 2.0
    return min(1.0, math.sqrt(USUAL_IMAGES / max(images, 1)))


def _batch_size(fields: dict[str, Any], images: int) -> int:
    """The usual one for so many images; that of `cnn_fast`, whose rate goes with it, is for many."""
    size = int(fields.get("batch_size", TrainConfig.model_fields["batch_size"].default))
    while fields["network"] != "cnn_fast" and size > _LEAST_BATCH and images < _STEPS * size:
        size //= 2
    return size


def fitted_to(images: int) -> str:
    """What the size of the data set changed in its presets, as a sentence."""
    told = f"Fitted to {images:,} training images: "
    if images > USUAL_IMAGES:
        return told + "fewer epochs, by the square root of how many times 1,000 images there are."
    if images >= SMALL_IMAGES:
        return told + "the usual batches, and all epochs."
    smallest = _batch_size(_CNN, images)
    batches = (
        f"batches of {smallest}, so that an epoch has a few steps, and" if smallest < 32 else "the usual batches, and"
    )
    return told + batches + " twice the epochs for a quick look from scratch."
