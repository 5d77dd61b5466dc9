"""Which epoch of a run is the best one. Validation chooses."""

import math
from collections.abc import Sequence

from ml.progress import EpochResult


def best_epoch(history: Sequence[EpochResult], validation_images: int) -> int:
    """Number of the epoch whose weights are kept: of those that score as well as the best, the one of lowest loss.

    The score is the AUC for two classes, else the accuracy. "As well" is within one standard error of the highest
    score so far (after Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3): on few images a
    lucky early epoch would otherwise win with probabilities that mean nothing. The answer is the last epoch or the
    answer of the epoch before, so one copy of the weights is enough.
    """
    best, highest = history[0], _score(history[0])
    for result in history[1:]:
        highest = max(highest, _score(result))
        needed = highest - _standard_error(highest, validation_images)
        is_calmer = result.validation_loss < best.validation_loss
        if _score(result) >= needed and (is_calmer or _score(best) < needed):
            best = result
    return best.number


def last_gain(history: Sequence[EpochResult]) -> int:
    """Number of the last epoch with a higher score or a lower loss than every one before: what patience counts from.

    Not the best epoch, which may stay the same for long while the score still rises within the standard error.
    """
    score, loss, number = -math.inf, math.inf, 0
    for result in history:
        if _score(result) > score or result.validation_loss < loss:
            number = result.number
        score, loss = max(score, _score(result)), min(loss, result.validation_loss)
    return number


def _score(result: EpochResult) -> float:
    return result.validation_accuracy if result.validation_auc is None else result.validation_auc


def _standard_error(share: float, images: int) -> float:
    """Of a share of so many images, with Laplace's one success and one failure more, so that 1 has an error too."""
    share = (share * images + 1) / (images + 2)
    return math.sqrt(share * (1 - share) / images)
