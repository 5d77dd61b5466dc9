"""What a learning-rate range test measured, and the rate that it suggests; free of torch.

The test (Smith 2015, "Cyclical Learning Rates for Training Neural Networks", section 3.3) trains for a few steps while
the rate rises from far too low to too high. Where the loss falls, the network learns; where it turns up, steps are too
long.
"""

import math
from collections.abc import Sequence

from ml.config import Frozen

STEPS = 120
LOWEST_RATE, HIGHEST_RATE = 1e-6, 10.0
SMOOTHING = 0.9  # share of the past in the moving average of the loss
DIVERGED = 4.0  # the test ends where the smoothed loss is so many times its lowest value
LEAST_FALL = 0.1  # of the first loss; a curve that falls less says nothing


class RateCurve(Frozen):
    """The rate and the loss of each step until the test ended; `suggested_rate` is None where the loss did not fall."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]  # of the batch, before the step
    smoothed: tuple[float, ...]
    suggested_rate: float | None


def rate_at(step: int) -> float:
    """The rate of a step, from 0: as many steps for each power of ten."""
    return float(LOWEST_RATE * (HIGHEST_RATE / LOWEST_RATE) ** (step / (STEPS - 1)))


def smooth(losses: Sequence[float]) -> list[float]:
    """The exponential moving average of the losses, without its bias towards zero (Kingma & Ba 2014, section 3)."""
    average, smoothed = 0.0, []
    for number, loss in enumerate(losses, start=1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smoothed.append(average / (1 - SMOOTHING**number))
    return smoothed


def has_diverged(smoothed: Sequence[float]) -> bool:
    return not math.isfinite(smoothed[-1]) or smoothed[-1] > DIVERGED * min(smoothed)


def curve_of(losses: Sequence[float]) -> RateCurve:
    """The curve of the losses of the first steps."""
    rates, smoothed = [rate_at(step) for step in range(len(losses))], smooth(losses)
    place = suggested_place(smoothed)
    return RateCurve(
        rates=tuple(rates),
        losses=tuple(losses),
        smoothed=tuple(smoothed),
        suggested_rate=None if place is None else float(f"{rates[place]:.2g}"),
    )


def suggested_place(smoothed: Sequence[float]) -> int | None:
    """The middle of the longest valley: half its length before its lowest point; None where the loss hardly falls.

    A valley is a falling run of losses, with gaps: many small falls count for more than the one steep step that noise
    can make (after fastai's default rule, `valley`, which comes from ESRI's `arcgis.learn`).
    """
    if min(smoothed) > (1 - LEAST_FALL) * smoothed[0]:
        return None
    lengths = [1] * len(smoothed)
    for at, loss in enumerate(smoothed):
        lengths[at] += max((lengths[before] for before in range(at) if smoothed[before] > loss), default=0)
    longest = max(lengths)
    return lengths.index(longest) - longest // 2
