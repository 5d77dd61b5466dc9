"""How far a score moves from one training to the next: mean, standard deviation and interval over the members.

The interval is mean ± t · s · √(1/n), with Student's t of n - 1 degrees of freedom. Folds share training images, so
their scores are not independent and no estimate of the variance is unbiased (Bengio & Grandvalet 2004): that interval
is too narrow. Nadeau & Bengio (2003) correct it to √(1/n + test/train), the share of images that judge over those that
train.
"""

import math
import statistics
from collections.abc import Sequence

from ml.config import Frozen
from ml.intervals import Score

# The 0.975 quantile of Student's t for 1 to 19 degrees of freedom.
T = [12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281]
T += [2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930]


class Spread(Frozen):
    """A score over `n` trainings; `corrected` allows for training images that folds share, and is empty for seeds."""

    n: int
    deviation: float | None
    interval: Score
    corrected: Score | None = None


def spread(values: Sequence[float], lowest: float = 0.0, test_per_train: float | None = None) -> Spread:
    """The spread of 0 to 20 scores, bounds cut off at `lowest` and 1; no bounds below two scores.

    `test_per_train` is how many images judge for each that trains; None where the trainings are independent.
    """
    n = len(values)
    if not n:
        return Spread(n=0, deviation=None, interval=Score())
    mean = statistics.fmean(values)
    if n < 2:
        return Spread(n=n, deviation=None, interval=Score(value=mean))
    deviation = statistics.stdev(values)

    def around(share: float) -> Score:
        half = T[n - 2] * deviation * math.sqrt(share)
        return Score(value=mean, low=max(mean - half, lowest), high=min(mean + half, 1.0))

    corrected = None if test_per_train is None else around(1 / n + test_per_train)
    return Spread(n=n, deviation=deviation, interval=around(1 / n), corrected=corrected)
