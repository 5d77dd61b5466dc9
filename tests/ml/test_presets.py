"""Starting points: every network at every level, with epochs that fit the data."""

import pytest

from ml.config import TrainConfig
from ml.presets import fitted_to, presets


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


@pytest.mark.parametrize(("images", "size"), [(1, 8), (63, 8), (64, 16), (127, 16), (128, 32), (546, 32), (60_000, 32)])
def test_an_epoch_of_a_small_data_set_still_has_a_few_steps(images: int, size: int) -> None:
    found = presets(images)
    assert found["cnn-solid"].config.batch_size == found["resnet18-best"].config.batch_size == size
    assert found["efficientnet-solid"].config.batch_size == min(size, 16)
    assert found["cnn-fast"].config.batch_size == 128


@pytest.mark.parametrize(("images", "epochs"), [(40, 16), (299, 16), (300, 8), (4_000, 4)])
def test_a_quick_look_at_a_small_data_set_takes_longer(images: int, epochs: int) -> None:
    assert presets(images)["cnn-quick"].config.epochs == epochs


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (50, "50 training images: batches of 8, so that an epoch has a few steps, and twice the epochs"),
        (150, "150 training images: the usual batches, and twice the epochs"),
        (1_000, "1,000 training images: the usual batches, and all epochs"),
        (4_000, "4,000 training images: fewer epochs, by the square root"),
    ],
)
def test_what_the_size_changed_is_said_in_a_sentence(images: int, said: str) -> None:
    assert fitted_to(images).startswith(f"Fitted to {said}")


def test_fifty_images_and_a_thousand_differ_in_every_preset_but_the_one_for_many() -> None:
    few, usual = presets(50), presets(1_000)
    assert [name for name in few if few[name].config == usual[name].config] == ["cnn-fast"]


@pytest.mark.parametrize("images", [10, 100, 299, 1_000, 100_000])
def test_every_size_has_presets_that_pass_their_own_checks(images: int) -> None:
    for preset in presets(images).values():
        assert TrainConfig.model_validate(preset.config.model_dump()) == preset.config


@pytest.mark.parametrize("images", [10, 100, 1_000, 100_000])
def test_a_better_level_takes_more_epochs(images: int) -> None:
    found = presets(images)
    for network in ("cnn", "resnet18", "mobilenet", "efficientnet"):
        epochs = [found[f"{network}-{level}"].config.epochs for level in ("quick", "solid", "best")]
        assert epochs == sorted(set(epochs))
