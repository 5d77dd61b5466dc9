"""Where a network looked: class activation maps of what an exported graph gives. Free of torch.

The network ends in the mean over its last feature map, so the derivative of a logit by the map is the same in every
cell: one slope a channel, in closed form from the weights of what follows. Grad-CAM (Selvaraju et al. 2017) weights the
channels with just these; where one linear layer follows it is the original CAM (Zhou et al. 2016).
"""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from ml.config import Frozen

Floats = NDArray[np.float32]
OF_IMAGES = ("features_NVCHW", "embedding_NVC")  # outputs of a graph, beside the probabilities
OF_HEAD = ("last_weight_KF", "hidden_weight_FC", "hidden_bias_F")  # outputs too, the same for every image
MAX_SIDE_PX = 1024
# Dark violet over red to yellow: rises in lightness, so it reads in grey and to colour-blind eyes.
_COLOURS = ((20, 11, 53), (101, 21, 110), (188, 55, 84), (237, 105, 37), (251, 180, 26), (252, 255, 164))
_STRONGEST_ALPHA = 230
_SAME, _OTHER = 0.8, 0.5  # rank correlations


@dataclass(frozen=True)
class Head:
    """The weights of what follows the means: one linear layer, or a hidden one and a hard swish before it."""

    last_weight_KF: Floats
    hidden_weight_FC: Floats | None = None
    hidden_bias_F: Floats | None = None

    def slopes(self, embedding_NVC: Floats, label_N: NDArray[np.int64]) -> Floats:
        """The derivative of the logit of each image's class by the means, as slopes_NVC."""
        last_N1F = self.last_weight_KF[label_N][:, None]
        if self.hidden_weight_FC is None or self.hidden_bias_F is None:
            return np.broadcast_to(last_N1F, embedding_NVC.shape)
        hidden_NVF = embedding_NVC @ self.hidden_weight_FC.T + self.hidden_bias_F
        return np.asarray((last_N1F * _hardswish_rise(hidden_NVF)) @ self.hidden_weight_FC, np.float32)


def _hardswish_rise(values: Floats) -> Floats:
    """The derivative of x * clip(x + 3, 0, 6) / 6: 0 below -3, 1 above 3, a straight line between."""
    return np.where(values <= -3, 0, np.where(values < 3, (2 * values + 3) / 6, 1)).astype(np.float32)


@dataclass(frozen=True)
class Seen:
    """What a graph gives of N images. A view is the image, or a copy that is judged, too (`ml.views`), turned back.

    `features_NVCHW` are the last feature maps and `embedding_NVC` their means.
    """

    head: Head
    probabilities_NK: Floats
    features_NVCHW: Floats
    embedding_NVC: Floats

    @property
    def directions(self) -> Floats:
        """The embeddings averaged over the views and scaled to length 1; one of nothing stays 0."""
        mean_NC = self.embedding_NVC.mean(axis=1)
        return np.asarray(mean_NC / np.maximum(np.linalg.norm(mean_NC, axis=1, keepdims=True), 1e-12), np.float32)

    def maps(self, label_N: NDArray[np.int64]) -> Floats:
        """How much each cell of the map speaks for the class `label_N` of each image, as maps_NHW.

        Negative cells speak against it; Grad-CAM is the positive part. Where one linear layer follows the means, the
        cells add up to the logit, but for a constant.
        """
        views, cells = self.embedding_NVC.shape[1], int(np.prod(self.features_NVCHW.shape[3:]))
        slopes_NVC = self.head.slopes(self.embedding_NVC, label_N) / (views * cells)
        maps_NHW: Floats = np.einsum("nvchw,nvc->nhw", self.features_NVCHW, slopes_NVC)
        return maps_NHW


class MapChecks(Frozen):
    """What becomes of the maps of some images when something changes, as rank correlations of their cells.

    `shifted` by one pixel they must stay: at least 0.8. With the weights `shuffled`, cumulatively from the last stage
    to the first, they must change: with all of them the mean absolute correlation is at most 0.5. None, or no stages,
    where a map has too few cells to tell.
    """

    images: int
    shifted: float | None = None
    shuffled: dict[str, float] = Field(default_factory=dict)  # by stage
    holds_still: bool | None = None
    depends_on_weights: bool | None = None

    @staticmethod
    def of(images: int, shifted: float | None, shuffled: dict[str, float]) -> "MapChecks":
        """With the verdicts."""
        return MapChecks(
            images=images,
            shifted=shifted,
            shuffled=shuffled,
            holds_still=None if shifted is None else shifted >= _SAME,
            depends_on_weights=[*shuffled.values()][-1] <= _OTHER if shuffled else None,
        )


def agreement(maps_NHW: Floats, others_NHW: Floats, is_signed: bool = True) -> float | None:
    """Mean over the images of the rank correlation (Spearman 1904) of two maps; None where no pair has one.

    Not signed, it is that of the absolute values: weights at random may turn a map around.
    """
    found = []
    for map_HW, other_HW in zip(maps_NHW, others_NHW, strict=True):
        ranks_2M = np.stack([_ranks(map_HW.ravel()), _ranks(other_HW.ravel())])
        if (ranks_2M.std(axis=1) > 0).all():
            found.append(float(np.atleast_2d(np.corrcoef(ranks_2M))[0, 1]))
    return float(np.mean(found if is_signed else np.abs(found))) if found else None


def _ranks(values_M: Floats) -> NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse_M, count_U = np.unique(values_M, return_inverse=True, return_counts=True)
    return np.take(np.cumsum(count_U) - (count_U - 1) / 2, inverse_M)


def shares(map_HW: NDArray[np.floating]) -> NDArray[np.float32]:
    """The positive part of a map, its strongest cell 1; all 0 where nothing speaks for the class."""
    positive_HW = np.maximum(map_HW, 0).astype(np.float32)
    strongest = float(positive_HW.max(initial=0))
    return positive_HW / strongest if strongest > 0 else positive_HW


def overlay_png(map_HW: NDArray[np.floating], width: int, height: int) -> bytes:
    """A PNG to lay over an image of this size: coloured where a cell speaks for the class, transparent elsewhere.

    It has the size of the image, but at most 1024 px a side.
    """
    scale = min(1.0, MAX_SIDE_PX / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    cells = Image.fromarray((255 * shares(map_HW)).astype(np.float32))
    levels_HW = np.asarray(cells.resize(size, Image.Resampling.BICUBIC)).clip(0, 255).round().astype(np.uint8)
    image = Image.fromarray(levels_HW)
    image.putpalette(_palette())
    alphas = np.linspace(0, _STRONGEST_ALPHA, 256).round().astype(np.uint8)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=alphas.tobytes(), compress_level=1)
    return buffer.getvalue()


def _palette() -> bytes:
    """256 colours between those of `_COLOURS`."""
    at = np.linspace(0, 1, 256)
    known = np.linspace(0, 1, len(_COLOURS))
    channels = [np.interp(at, known, channel) for channel in np.transpose(_COLOURS)]
    return np.stack(channels, axis=1).round().astype(np.uint8).tobytes()
