"""One straight loop from a configuration and a data set to a trained network."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ml import checkpoint, device, loader, networks, weights
from ml.checkpoint import Checkpoint
from ml.config import Split, TrainConfig
from ml.energy import EnergyMeter
from ml.errors import BadConfig
from ml.images import InputSpec
from ml.inputs import inputs_of
from ml.loader import Cached
from ml.manifest import Manifest
from ml.networks import Network
from ml.pack import PackReader
from ml.progress import EpochResult, Progress, Report
from ml.run import Run

__all__ = ["EpochResult", "Fitted", "Progress", "Report", "fit"]


@dataclass(frozen=True)
class Fitted:
    """A finished run; the network holds the weights of its best epoch and is on the CPU, in evaluation mode."""

    network: Network
    history: list[EpochResult]
    best_epoch: int
    device: str
    wall_s: float
    energy_j: float | None = None  # of the processors; None where not counted, on a GPU, and after a resumption


def fit(
    config: TrainConfig,
    manifest: Manifest,
    packs: PackReader,
    scratch: Path,
    report: Report,
    save_checkpoint: Callable[[Path, int], None],
    resume_from: Path | None = None,
    resolve_version: Callable[[int], Path] | None = None,
    weights_dir: Path | None = None,
    default_device: str = "auto",
) -> Fitted:
    """The network trained on the split 'train', its best epoch chosen on 'validation'.

    What is best says `ml.selection`. `report` is called at every step, also of a download and of validation, and may
    raise to stop the run; `save_checkpoint` gets the file and the number of each epoch, before the epoch is reported.
    Resumed from such a file, a run on a CPU ends with the same bits.
    """
    started_s, meter = time.monotonic(), EnergyMeter()
    saved = checkpoint.load(resume_from) if resume_from is not None else None
    run = begin(config, manifest, packs, scratch, report, saved, resolve_version, weights_dir, default_device)
    metered = functools.partial(_report_metered, meter, report)
    earlier_s = sum(result.seconds for result in run.history)
    while not run.is_finished():
        result = run.epoch(metered)
        checkpoint.save(run.checkpoint(), scratch / "checkpoint.pt")
        save_checkpoint(scratch / "checkpoint.pt", result.number)
        report(run.progress(run.steps, result.images_per_s, result))
    wall_s = earlier_s + time.monotonic() - started_s
    energy_j = meter.joules() if saved is None and run.device.type == "cpu" else None
    return Fitted(run.best_network(), run.history, run.best["epoch"], device.describe(run.device), wall_s, energy_j)


def begin(
    config: TrainConfig,
    manifest: Manifest,
    packs: PackReader,
    scratch: Path,
    report: Report,
    saved: Checkpoint | None = None,
    resolve_version: Callable[[int], Path] | None = None,
    weights_dir: Path | None = None,
    default_device: str = "auto",
) -> Run:
    """A run before its first step, or where `saved` left it: weights loaded, images prepared, all on the device."""
    chosen = device.choose(config.device, default_device)
    torch.manual_seed(config.seed)
    network = networks.build(config, len(manifest.classes))
    report_share = functools.partial(_report_prepared, config, chosen, report)
    if saved is None:
        weights.load_initial(network, config, resolve_version, weights_dir, lambda: report_share(0.0))
    dtype = device.choose_precision(saved.run["precision"] if saved else config.precision, chosen)
    train, validation = _cached(config, manifest, packs, scratch, report_share)
    if saved is not None:
        network.body.load_state_dict(saved.model)
    # Channels last is the faster layout of convolutions; torch's stubs do not know it as an argument of `to`.
    network = network.to(chosen, memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs = inputs_of(config, network, train, validation, chosen, dtype, report_share)
    run = Run(config, manifest, network, inputs, chosen, dtype)
    if saved is not None:
        run.restore(saved)
    return run


def _cached(
    config: TrainConfig, manifest: Manifest, packs: PackReader, scratch: Path, report: Callable[[float], None]
) -> tuple[Cached, Cached]:
    """The images of 'train' and 'validation', decoded; `report` hears the share that is done."""
    chosen: tuple[Split, Split] = ("train", "validation")
    rows = {split: manifest.of_split(split) for split in chosen}
    for split in chosen:
        if not rows[split]:
            raise BadConfig(f"The data set has no images in the split '{split}'. Ingest it again with other shares.")
    total = len(rows["train"]) + len(rows["validation"])
    spec = InputSpec(size_px=config.image_size_px)

    def cached(split: Split, before: int) -> Cached:
        path = scratch / f"{split}.npy"
        return loader.cache(manifest, rows[split], packs, spec, path, lambda done: report((before + done) / total))

    return cached("train", 0), cached("validation", len(rows["train"]))


def _report_prepared(config: TrainConfig, chosen: torch.device, report: Report, share: float) -> None:
    report(Progress(epoch=0, epochs=config.epochs, step=0, steps=0, images_per_s=0, device=str(chosen), prepared=share))


def _report_metered(meter: EnergyMeter, report: Report, progress: Progress) -> None:
    meter.tick()
    report(progress)
