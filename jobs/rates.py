"""The learning-rate range test as a job: row -> ml -> row."""

import contextlib
import functools

from jobs.work import Work
from ml.config import TrainConfig
from ml.progress import Progress
from webapp.models import RateSearch, db


def find(work: Work) -> None:
    from ml import device
    from ml.rate_finder import find_rate

    row = db.session.get_one(RateSearch, work.attempt.row_id)
    dataset, config = row.dataset, TrainConfig.model_validate(row.config)
    db.session.expunge_all()
    db.session.remove()
    chosen = device.choose(config.device, work.settings.device)
    work.attempt.report(phase="preparing images", device=device.describe(chosen))
    with contextlib.ExitStack() as stack:
        manifest, packs = stack.enter_context(work.images_of(dataset))
        curve = find_rate(
            config,
            manifest,
            packs,
            work.scratch,
            report=functools.partial(_report, work),
            resolve_version=functools.partial(work.state_dict_of_version, stack),
            weights_dir=work.settings.weights_dir,
            default_device=work.settings.device,
            shelf=work.shelf,
        )
    work.attempt.end("succeeded", progress=1.0, curve=curve.model_dump(mode="json"))


def _report(work: Work, progress: Progress) -> None:
    if progress.epoch == 0:
        work.attempt.report(phase=f"preparing images: {progress.prepared:.0%}", device=progress.device)
    else:
        work.attempt.report(progress=progress.step / progress.steps, phase=f"step {progress.step} of {progress.steps}")
