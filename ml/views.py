"""Views: copies of an image that a network judges beside it at test, whose logits are averaged.

Mirror images, and copies shifted by a pixel, as the speed records on CIFAR-10 do (Jordan 2024). A copy is mirrored
before it is shifted, so an image and its mirror image have the same views.
"""

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

_SHIFTS = ((-1, -1), (1, 1))


class View(NamedTuple):
    """How a copy differs from the image: mirrored, and moved by so many pixels; what comes in is its own edge again."""

    is_mirrored: bool = False
    right_px: int = 0
    down_px: int = 0

    def of(self, images_NCHW: Tensor) -> Tensor:
        """The copies of images."""
        turned_NCHW = images_NCHW.flip(3) if self.is_mirrored else images_NCHW
        if not self.right_px and not self.down_px:
            return turned_NCHW
        height, width = images_NCHW.shape[2:]
        wide_NCHW = functional.pad(turned_NCHW, (1, 1, 1, 1), mode="replicate")
        top, left = 1 - self.down_px, 1 - self.right_px
        return wide_NCHW[:, :, top : top + height, left : left + width]

    def back(self, grid_NCHW: Tensor) -> Tensor:
        """A feature map of the copy, turned to lie over the image; a pixel is less than a cell of it."""
        return grid_NCHW.flip(3) if self.is_mirrored else grid_NCHW


SAME = View()


def views(mirrored: bool, shifted: bool) -> tuple[View, ...]:
    """The image itself first."""
    turns = (False, True) if mirrored else (False,)
    shifts = ((0, 0), *_SHIFTS) if shifted else ((0, 0),)
    return tuple(View(turn, *shift) for shift in shifts for turn in turns)
