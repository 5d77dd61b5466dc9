"""Starting points: every network at every level, with epochs that fit the data."""

import pytest

from ml.config import TrainConfig
from ml.presets import presets


@pytest.mark.parametrize("name", presets())
def test_a_preset_passes_its_own_checks(name: str) -> None:
    config = presets()[name].config
    assert TrainConfig.model_validate(config.model_dump()) == config


def test_there_is_each_level_for_each_network_and_a_fast_one() -> None:
    networks, levels = ("cnn", "resnet18", "mobilenet", "efficientnet"), ("quick", "solid", "best")
    assert set(presets()) == {f"{network}-{level}" for network in networks for level in levels} | {"cnn-fast"}


@pytest.mark.parametrize(("images", "epochs"), [(1, 30), (500, 30), (1_000, 30), (4_000, 15), (50_000, 6)])
def test_a_larger_data_set_is_gone_through_less_often(images: int, epochs: int) -> None:
    assert presets(images)["cnn-solid"].config.epochs == epochs


@pytest.mark.parametrize("images", [100, 1_000, 100_000])
def test_a_better_level_takes_more_epochs(images: int) -> None:
    found = presets(images)
    for network in ("cnn", "resnet18", "mobilenet", "efficientnet"):
        epochs = [found[f"{network}-{level}"].config.epochs for level in ("quick", "solid", "best")]
        assert epochs == sorted(set(epochs))
