"""Which epoch of a run is kept."""

from itertools import pairwise

import pytest

from ml.progress import EpochResult
from ml.selection import best_epoch, last_gain


def _history(*epochs: tuple[float, float], has_auc: bool = True) -> list[EpochResult]:
    """Epochs of (score, validation loss)."""
    return [
        EpochResult(
            number=number,
            train_loss=1,
            train_accuracy=0,
            validation_loss=loss,
            validation_accuracy=0.5 if has_auc else score,
            validation_auc=score if has_auc else None,
            learning_rate=0.1,
            seconds=1,
            images_per_s=1,
        )
        for number, (score, loss) in enumerate(epochs, start=1)
    ]


@pytest.mark.parametrize("has_auc", [True, False])
def test_a_clearly_higher_score_wins_whatever_the_loss(has_auc: bool) -> None:
    assert best_epoch(_history((0.7, 0.1), (0.9, 0.5), (0.6, 0.1), has_auc=has_auc), 100) == 2


def test_among_scores_within_the_error_the_lower_loss_wins() -> None:
    assert best_epoch(_history((0.97, 2.5), (0.96, 0.3), (0.965, 0.2), (0.966, 0.25)), 90) == 3


def test_many_images_tell_scores_apart_that_few_do_not() -> None:
    history = _history((0.97, 2.5), (0.96, 0.3))
    assert [best_epoch(history, images) for images in (90, 100_000)] == [2, 1]


def test_a_perfect_score_on_few_images_may_still_be_luck() -> None:
    assert best_epoch(_history((1.0, 2.5), (0.995, 0.1)), 50) == 2


def test_slow_decline_does_not_creep_away_from_the_highest_score() -> None:
    decline = [(0.97 - 0.01 * step, 1 - 0.1 * step) for step in range(6)]
    assert best_epoch(_history(*decline), 90) == 3  # one standard error below 0.97 is 0.949


def test_the_answer_is_the_last_epoch_or_the_answer_before() -> None:
    epochs = [((37 * step % 11) / 20 + 0.4, (53 * step % 17) / 10) for step in range(60)]
    answers = [best_epoch(_history(*epochs[:count]), 40) for count in range(1, 61)]
    assert all(new in (old, count) for count, (old, new) in enumerate(pairwise(answers), start=2))


def test_a_score_that_still_rises_is_a_gain_although_the_best_epoch_stays() -> None:
    history = _history((0.70, 0.3), (0.71, 0.5), (0.72, 0.5), (0.73, 0.5))
    assert (best_epoch(history, 90), last_gain(history)) == (1, 4)


def test_a_loss_that_still_falls_is_a_gain_at_the_highest_score() -> None:
    assert last_gain(_history((1.0, 0.5), (1.0, 0.4), (1.0, 0.3), (1.0, 0.3), (0.9, 0.4))) == 3


def test_reaching_an_earlier_score_again_is_no_gain() -> None:
    assert last_gain(_history((0.9, 0.2), (0.8, 0.3), (0.9, 0.2))) == 1
