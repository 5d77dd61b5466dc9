"""The learning-rate range test: a few steps of an ordinary training while the rate rises."""

import contextlib
import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path

from ml import threads, training
from ml.config import TrainConfig
from ml.decoded import Shelf
from ml.errors import BadConfig
from ml.inputs import Pairs
from ml.manifest import Manifest
from ml.optimization import rising
from ml.pack import PackReader
from ml.progress import Progress, Report
from ml.rate_curve import HIGHEST_RATE, LOWEST_RATE, STEPS, RateCurve, curve_of, has_diverged, smooth
from ml.run import Run

# The test sets the rate itself. All that will ever learn learns at once: only the epochs of a run let stages wait.
_CHANGES = {
    "learning_rate": LOWEST_RATE,
    "schedule": "constant",
    "warmup_epochs": 0,
    "devices": 1,
}


def find_rate(
    config: TrainConfig,
    manifest: Manifest,
    packs: PackReader,
    scratch: Path,
    report: Report,
    resolve_version: Callable[[int], Path] | None = None,
    weights_dir: Path | None = None,
    default_device: str = "auto",
    shelf: Shelf | None = None,
) -> RateCurve:
    """The curve of the configuration, whose own rate and schedule do not count, on the split 'train'.

    `report` is called at every step, as epoch 1 of 1, and may raise to stop the test. Raises BadConfig.
    """
    tested = config.model_copy(update=_CHANGES)
    begun = training.begun(
        tested, manifest, packs, scratch, report, resolve_version, weights_dir, default_device, shelf
    )
    with threads.counted(config.threads), begun as run:
        losses = _losses(run, report)
    if not losses:
        raise BadConfig("The loss of the first step is not a number, at any rate. Start from other initial weights.")
    return curve_of(losses)


def _losses(run: Run, report: Report) -> list[float]:
    """Of each step, before it, until the loss has diverged."""
    run.schedule = rising(run.optimizer, HIGHEST_RATE / LOWEST_RATE, STEPS)
    run.network.train()
    losses: list[float] = []
    started_s = time.monotonic()
    with contextlib.closing(_batches(run)) as batches:
        for inputs, labels_N in itertools.islice(batches, STEPS):
            loss = run.step(inputs, labels_N)[0].item()
            if not math.isfinite(loss):
                break
            losses.append(loss)
            report(_progress(run, len(losses), started_s))
            if has_diverged(smooth(losses)):
                break
    return losses


def _batches(run: Run) -> Pairs:
    """Those of as many epochs as are asked for."""
    for epoch in itertools.count(1):
        yield from run.inputs.training(epoch, run.generator)


def _progress(run: Run, step: int, started_s: float) -> Progress:
    step_s = (time.monotonic() - started_s) / step
    images_per_s = min(run.config.batch_size, len(run.inputs.labels())) / step_s
    return Progress(epoch=1, epochs=1, step=step, steps=STEPS, images_per_s=images_per_s, step_s=step_s)
