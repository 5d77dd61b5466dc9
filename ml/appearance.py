"""The plain look of an image in seven figures, which know nothing of what was learned."""

import numpy as np
from numpy.typing import NDArray


def figures(batch_NCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The figures of images as look_NS: brightness and its spread, share of black and of white, fine and coarse
    contrast (logarithms), colour.
    """
    pixels_NCHW = batch_NCHW.astype(np.float32) / 255
    grey_NHW = pixels_NCHW.mean(axis=1)
    across_NHW, down_NHW = np.abs(np.diff(grey_NHW, axis=2)), np.abs(np.diff(grey_NHW, axis=1))
    wide_NHW = np.abs(grey_NHW[:, :, 4:] - grey_NHW[:, :, :-4])
    found = (
        grey_NHW.mean(axis=(1, 2)),
        grey_NHW.std(axis=(1, 2)),
        (grey_NHW < 0.05).mean(axis=(1, 2)),
        (grey_NHW > 0.95).mean(axis=(1, 2)),
        np.log10(0.001 + across_NHW.mean(axis=(1, 2)) + down_NHW.mean(axis=(1, 2))),
        np.log10(0.001 + wide_NHW.mean(axis=(1, 2))),
        (pixels_NCHW.max(axis=1) - pixels_NCHW.min(axis=1)).mean(axis=(1, 2)),
    )
    return np.stack(found, axis=1).astype(np.float32)
