"""Blended batches: inputs and labels change together."""

import pytest
import torch

from ml.config import TrainConfig
from ml.mixing import mixed

LABELS_N = torch.tensor([0, 1, 2, 0, 1, 2])


def _images() -> torch.Tensor:
    """Image n is the number n in every pixel."""
    return torch.arange(6.0).view(6, 1, 1, 1).expand(6, 3, 16, 16).clone()


def _mixed(seed: int = 0, inputs: torch.Tensor | None = None, **fields: float) -> tuple[torch.Tensor, torch.Tensor]:
    config = TrainConfig.model_validate(fields)
    generator = torch.Generator().manual_seed(seed)
    return mixed(_images() if inputs is None else inputs, LABELS_N, 3, config, generator)


def test_without_mixing_nothing_changes_and_no_random_number_is_taken() -> None:
    generator = torch.Generator().manual_seed(1)
    state = generator.get_state()
    inputs = _images()
    images_NCHW, targets_N = mixed(inputs, LABELS_N, 3, TrainConfig(), generator)
    assert images_NCHW is inputs
    assert targets_N is LABELS_N
    assert torch.equal(generator.get_state(), state)


@pytest.mark.parametrize("seed", range(5))
def test_mixup_blends_pixels_and_labels_by_the_same_share(seed: int) -> None:
    images_NCHW, targets_NK = _mixed(seed, mixup=1.0)
    torch.testing.assert_close(targets_NK.sum(dim=1), torch.ones(6))
    first = images_NCHW[:, 0, 0, 0]
    torch.testing.assert_close(images_NCHW, first.view(6, 1, 1, 1).expand_as(images_NCHW))
    torch.testing.assert_close(first.sum(), torch.arange(6.0).sum())


@pytest.mark.parametrize("seed", range(5))
def test_cutmix_labels_by_the_area_that_was_pasted(seed: int) -> None:
    images_NCHW, targets_NK = _mixed(seed, cutmix=1.0)
    shown_NHW = images_NCHW[:, 0].long()
    expected_NK = torch.stack([(LABELS_N[shown_NHW] == label).float().mean(dim=(1, 2)) for label in range(3)], dim=1)
    torch.testing.assert_close(targets_NK, expected_NK)


def test_features_are_blended_under_either_name() -> None:
    features_NF = torch.arange(12.0).view(6, 2)
    for name in ("mixup", "cutmix"):
        blended_NF, targets_NK = _mixed(3, features_NF, **{name: 1.0})
        assert blended_NF.shape == (6, 2)
        assert targets_NK.shape == (6, 3)


def test_the_same_seed_mixes_alike() -> None:
    for one, other in zip(_mixed(4, mixup=0.3, cutmix=1.0), _mixed(4, mixup=0.3, cutmix=1.0), strict=True):
        assert torch.equal(one, other)
