"""A network in two halves: what makes its last feature map, and what makes logits of the map's means.

What follows the means is little, so its weights travel beside the answer and `ml.explain` differentiates it in closed
form. A new kind of head is added here, with its derivative there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Part = Callable[[Any, Tensor], Tensor]  # of a body and what goes into the part


def pooled(grid_NCHW: Tensor) -> Tensor:
    """The mean of each channel, as features_NC."""
    return nn.functional.adaptive_avg_pool2d(grid_NCHW, 1).flatten(1)


@dataclass(frozen=True)
class Halves:
    """A body in two, parted by the mean over its last feature map. One after the other is the body.

    `grid` is that map of normalised images, shape (N, C, H, W); `logits` are those of its means, shape (N, C). In the
    place of the mean may be a `pool` whose derivative, summed over the map, is 1 as well: the maximum.
    `weights` are those of the second half, by their names in `ml.explain.Head`. `classifier` is the part of the body
    that alone is used after the map.
    """

    grid: Part
    logits: Part
    weights: Callable[[Any], dict[str, Tensor]]
    classifier: str
    pool: Callable[[Tensor], Tensor] = pooled

    def features(self, body: Any, images_NCHW: Tensor) -> Tensor:
        """The means of the last feature map, as features_NC."""
        return self.pool(self.grid(body, images_NCHW))


def linear_halves(grid: Part, classifier: str, dropout: Part) -> Halves:
    """Halves of a body whose only layer after the map is linear, but for dropout."""

    def logits(body: Any, features_NC: Tensor) -> Tensor:
        logits_NK: Tensor = body.get_submodule(classifier)(dropout(body, features_NC))
        return logits_NK

    def weights(body: Any) -> dict[str, Tensor]:
        return {"last_weight_KF": body.get_submodule(classifier).weight}

    return Halves(grid, logits, weights, classifier)


def swish_halves(grid: Part, classifier: str) -> Halves:
    """Halves of a body whose classifier is linear, hard swish, dropout, linear (Howard et al. 2019, MobileNetV3)."""

    def logits(body: Any, features_NC: Tensor) -> Tensor:
        logits_NK: Tensor = body.get_submodule(classifier)(features_NC)
        return logits_NK

    def weights(body: Any) -> dict[str, Tensor]:
        first, _, _, last = body.get_submodule(classifier)
        return {"last_weight_KF": last.weight, "hidden_weight_FC": first.weight, "hidden_bias_F": first.bias}

    return Halves(grid, logits, weights, classifier)
