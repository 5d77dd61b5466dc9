"""The network as it is exported: bytes in, probabilities out, and beside them what explains them."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ml.explain import Head, Seen
from ml.networks import Network


class Served(nn.Module):
    """uint8 images -> probabilities: the network as clients meet it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return torch.softmax(self.network(images), dim=1)


class Explained(Served):
    """uint8 images -> probabilities, and what explains them: the two halves apart, and the weights of the second.

    They cost an answer next to nothing: they are computed anyway or are constants.
    """

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        halves, body = self.network.halves, self.network.body
        pixels_NCHW = self.network.normalize(images)
        grids = [view.back(halves.grid(body, view.of(pixels_NCHW))) for view in self.network.views]
        features = [halves.pool(grid_NCHW) for grid_NCHW in grids]
        logits_NK = torch.stack([halves.logits(body, features_NC) for features_NC in features]).mean(dim=0)
        of_images = (torch.stack(grids, dim=1), torch.stack(features, dim=1))
        return torch.softmax(logits_NK, dim=1), *of_images, *halves.weights(body).values()


def see(network: Network, images_NCHW: NDArray[np.uint8]) -> Seen:
    """What the exported graph will give of these images, by torch."""
    with torch.inference_mode():
        found = [value.numpy() for value in Explained(network).eval()(torch.from_numpy(images_NCHW))]
    names = network.halves.weights(network.body)
    return Seen(Head(**dict(zip(names, found[3:], strict=True))), *found[:3])
