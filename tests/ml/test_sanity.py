"""Sanity checks of class activation maps."""

import numpy as np
import pytest
import torch

from ml import networks, sanity
from ml.config import TrainConfig
from ml.explain import MapChecks, agreement
from tests.ml.small_dataset import draw


def checked(seed: int = 0, size_px: int = 64) -> MapChecks:
    """Of a network that has seen data, as its batch norm needs."""
    images_NCHW = np.stack([draw(number % 2 == 1, size_px, number).transpose(2, 0, 1) for number in range(20)])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = networks.build(TrainConfig(image_size_px=size_px), 2).train()
        for _ in range(5):
            network(torch.from_numpy(images_NCHW))
    return sanity.check(network.eval(), "cnn", images_NCHW)


def test_weights_are_shuffled_from_the_last_part_to_the_first() -> None:
    found = checked()
    assert list(found.shuffled) == ["head", "stages.2", "stages.1", "stages.0", "stem"]
    assert all(0 <= one <= 1 for one in found.shuffled.values())
    assert found.images == 10
    assert found == checked()


def test_the_network_is_as_it_was() -> None:
    network = networks.build(TrainConfig(image_size_px=32), 2).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    sanity.check(network, "cnn", np.zeros((2, 3, 32, 32), np.uint8))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_map_of_one_cell_tells_nothing() -> None:
    one_cell_NHW = np.ones((3, 1, 1), np.float32)
    assert agreement(one_cell_NHW, one_cell_NHW) is None
    assert MapChecks.of(3, None, {}).depends_on_weights is None


@pytest.mark.parametrize(
    ("shifted", "shuffled", "holds", "depends"), [(0.9, 0.1, True, True), (0.7, 0.6, False, False)]
)
def test_the_verdicts_follow_the_last_step(shifted: float, shuffled: float, holds: bool, depends: bool) -> None:
    found = MapChecks.of(4, shifted, {"head": 0.55, "stem": shuffled})
    assert (found.holds_still, found.depends_on_weights) == (holds, depends)


def test_agreement_is_that_of_ranks() -> None:
    map_HW = np.arange(9, dtype=np.float32).reshape(3, 3)
    maps_NHW = np.stack([map_HW, map_HW])
    others_NHW = np.stack([np.exp(map_HW), -map_HW])
    assert agreement(maps_NHW, others_NHW) == pytest.approx(0)
    assert agreement(maps_NHW, others_NHW, is_signed=False) == pytest.approx(1)
    tied_NHW = np.array([[[1, 1], [2, 3]]], np.float32)
    assert agreement(tied_NHW, np.array([[[5, 5], [7, 9]]], np.float32)) == pytest.approx(1)
