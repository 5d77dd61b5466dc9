"""A network in two halves: what makes its last feature map, and what makes logits of the map's means.

What follows the means is little, so its weights travel beside the answer and `ml.explain` differentiates it in closed
form. A new kind of head is added here, with its derivative there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

Part = Callable[[Any, Tensor], Tensor]  # of a body and what goes into the part


@dataclass(frozen=True)
class Halves:
    """A body in two, parted by the mean over its last feature map. One after the other is the body.

    `grid` is that map of normalised images, shape (N, C, H, W). `classifier` names the part of the body that alone is
    used after the map, but for the `dropout` before it, if that is a part of its own.
    """

    grid: Part
    classifier: str
    dropout: str = ""

    def features(self, body: Any, images_NCHW: Tensor) -> Tensor:
        """The means of the last feature map, as features_NC."""
        return self.pool(self.grid(body, images_NCHW))

    def pool(self, grid_NCHW: Tensor) -> Tensor:
        """The mean of each channel, as features_NC; or what, like the maximum, has a derivative that adds up to 1."""
        return nn.functional.adaptive_avg_pool2d(grid_NCHW, 1).flatten(1)

    def logits(self, body: Any, features_NC: Tensor) -> Tensor:
        """The logits_NK of these means."""
        kept_NC = body.get_submodule(self.dropout)(features_NC) if self.dropout else features_NC
        logits_NK: Tensor = body.get_submodule(self.classifier)(kept_NC)
        return logits_NK

    def weights(self, body: Any) -> dict[str, Tensor]:
        """Those of the second half, by their names in `ml.explain.Head`: here of one linear layer."""
        return {"last_weight_KF": body.get_submodule(self.classifier).weight}


class SwishHalves(Halves):
    """Halves of a body whose classifier is linear, hard swish, dropout, linear (Howard et al. 2019, MobileNetV3)."""

    def weights(self, body: Any) -> dict[str, Tensor]:
        first, _, _, last = body.get_submodule(self.classifier)
        return {"last_weight_KF": last.weight, "hidden_weight_FC": first.weight, "hidden_bias_F": first.bias}
