"""What a run tells while it trains: plain values, free of torch."""

from collections.abc import Callable

from ml.config import Frozen


class EpochResult(Frozen):
    """Figures of one pass over the training images and the validation that follows it."""

    number: int  # from 1
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    validation_auc: float | None  # of two classes, where both are present
    learning_rate: float  # at the end of the epoch
    seconds: float
    images_per_s: float  # of training


class Progress(Frozen):
    """Where a run stands. Epoch 0 of 0 steps prepares the images; `prepared` is the share that is done.

    Validation belongs to the last step of its epoch, which it repeats.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    images_per_s: float
    device: str | None = None  # in words, while images are prepared
    step_s: float | None = None  # unknown before the first step
    epoch_s: float | None = None  # what the epoch before took, with its validation
    prepared: float = 1.0
    epoch_result: EpochResult | None = None  # with the last message of an epoch, once its checkpoint is kept

    @property
    def left_s(self) -> float | None:
        """Seconds until the last epoch ends, None before the first step; validation counts once an epoch is over."""
        if self.step_s is None:
            return None
        epoch_s = self.epoch_s or self.steps * self.step_s
        of_this_epoch_s = 0.0 if self.epoch_result else max(0.0, epoch_s - self.step * self.step_s)
        return of_this_epoch_s + (self.epochs - self.epoch) * epoch_s


Report = Callable[[Progress], None]
