"""Sanity checks of class activation maps: do they depend on what was learned, and hold still where the image does?

A map that looks the same when the weights are noise explains nothing (Adebayo et al. 2018, "Sanity checks for saliency
maps"). From the last stage to the first, the weights are shuffled within each tensor, which keeps their distribution.
"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray

from ml.explain import MapChecks, agreement
from ml.networks import REGISTRY, Network
from ml.served import see

MOST_IMAGES = 16
_SEED = 0


def check(network: Network, architecture: str, images_NCHW: NDArray[np.uint8]) -> MapChecks:
    """What becomes of the maps of these images when they are shifted by a pixel, and when the weights are shuffled."""
    some_NCHW = images_NCHW[:: -(-len(images_NCHW) // MOST_IMAGES)]
    seen = see(network, some_NCHW)
    label_N = seen.probabilities_NK.argmax(axis=1)
    maps_NHW = seen.maps(label_N)
    shifted_NHW = see(network, _shifted(some_NCHW)).maps(label_N)
    noise, random, stages = copy.deepcopy(network), torch.Generator().manual_seed(_SEED), {}
    for stage in reversed(REGISTRY[architecture].stages):
        for part in stage:
            _shuffle(noise.body.get_submodule(part), random)
        found = agreement(maps_NHW, see(noise, some_NCHW).maps(label_N), is_signed=False)
        if found is not None:
            stages[" ".join(stage)] = found
    return MapChecks.of(len(some_NCHW), agreement(maps_NHW, shifted_NHW), stages)


def _shifted(images_NCHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One pixel to the right; the first column stays as well."""
    return np.concatenate([images_NCHW[..., :1], images_NCHW[..., :-1]], axis=3)


@torch.no_grad()
def _shuffle(part: torch.nn.Module, random: torch.Generator) -> None:
    for weight in part.parameters():
        weight.copy_(weight.flatten()[torch.randperm(weight.numel(), generator=random)].view_as(weight))
