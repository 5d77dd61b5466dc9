"""What a run says of the time that is left."""

from ml.progress import EpochResult, Progress

RESULT = EpochResult(**dict.fromkeys(EpochResult.model_fields, 1))


def at(step: int, **values: object) -> float | None:
    facts = {"epoch": 3, "epochs": 5, "steps": 10, "images_per_s": 1, "step_s": 2.0}
    return Progress(step=step, **facts | values).left_s


def test_without_an_epoch_before_the_steps_are_all_that_is_known() -> None:
    assert at(4) == 6 * 2 + 2 * 20


def test_validation_counts_once_an_epoch_was_through_it() -> None:
    assert at(4, epoch_s=30.0) == 30 - 8 + 2 * 30
    assert at(10, epoch_s=30.0) == 10 + 2 * 30  # validation is going on


def test_an_epoch_that_is_over_leaves_those_behind_it() -> None:
    assert at(10, epoch_s=30.0, epoch_result=RESULT) == 2 * 30
    assert at(10, epoch=5, epoch_s=30.0, epoch_result=RESULT) == 0


def test_an_epoch_that_is_slower_than_the_one_before_leaves_no_negative_time() -> None:
    assert at(10, epoch=5, epoch_s=15.0) == 0


def test_nothing_is_known_before_the_first_step() -> None:
    assert at(0, step_s=None) is None
