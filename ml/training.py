"""One straight loop from a configuration and a data set to a trained network."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from ml import checkpoint, compilation, device, networks, peers, precision, threads, weights
from ml.checkpoint import Checkpoint
from ml.config import TrainConfig
from ml.decoded import LEARNED, Decoded, Shelf, decoded
from ml.energy import Energy, EnergyMeter, counters_of
from ml.errors import BadConfig
from ml.images import InputSpec
from ml.inputs import Pictures, inputs_of
from ml.manifest import Manifest
from ml.networks import Network
from ml.pack import PackReader
from ml.peers import Task
from ml.progress import EpochResult, Progress, Report
from ml.run import Run
from ml.share import ALONE, Share

__all__ = ["EpochResult", "Fitted", "Progress", "Report", "fit"]


@dataclass(frozen=True)
class Fitted:
    """A finished run; the network holds the weights of its best epoch and is on the CPU, in evaluation mode."""

    network: Network
    history: list[EpochResult]
    best_epoch: int
    device: str
    precision: str
    compiled_epochs: int
    wall_s: float
    energy: Energy | None = None  # of all attempts; None where one could not read it
    threads: int | None = None  # of the processor; None on a GPU


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
    shelf: Shelf | None = None,
) -> Fitted:
    """The network trained on the split 'train', its best epoch chosen on 'validation'.

    What is best says `ml.selection`. `report` is called at every step, also of a download and of validation, and may
    raise to stop the run; `save_checkpoint` gets the file and the number of each epoch, before the epoch is reported.
    What is decoded lies in `scratch`, or on the `shelf`, where other runs find it.
    Resumed from such a file with the same configuration, a run on a CPU ends with the same bits, in as many threads as
    it began with: those that the configuration names, else those that torch has here.
    """
    started_s = time.monotonic()
    saved = checkpoint.load(resume_from) if resume_from is not None else None
    chosen = device.choose(config.device, default_device, config.devices)
    meter = EnergyMeter(counters_of(chosen, config.devices), saved.energy if saved else None)
    with contextlib.ExitStack() as stack:
        stack.enter_context(threads.counted((saved.position.get("threads") if saved else 0) or config.threads))
        images = functools.partial(_decoded, stack, config, manifest, packs, scratch, shelf)
        start = _start(config, manifest, images, report, saved, resolve_version, weights_dir, chosen)
        metered = functools.partial(_report_metered, meter, report)
        task = Task(_follow, (config, manifest, start.dtype, start.images, resume_from))
        with peers.beside(config.devices, start.device, scratch, task) as share:
            run = start.run(share)
            earlier_s = sum(result.seconds for result in run.history)
            while share.next_epoch(run.next_epoch(), start.device):
                result = run.epoch(metered)
                checkpoint.save(run.checkpoint(meter.sums()), scratch / "checkpoint.pt")
                save_checkpoint(scratch / "checkpoint.pt", result.number)
                report(run.progress(run.steps, result.images_per_s, result))
        described = device.describe(start.device, config.devices)
    wall_s = earlier_s + time.monotonic() - started_s
    return Fitted(
        run.best_network(),
        run.history,
        run.best["epoch"],
        described,
        precision.name(start.dtype),
        run.compiled_epochs,
        wall_s,
        meter.energy(),
        run.threads or None,
    )


@contextlib.contextmanager
def begun(
    config: TrainConfig,
    manifest: Manifest,
    packs: PackReader,
    scratch: Path,
    report: Report,
    resolve_version: Callable[[int], Path] | None = None,
    weights_dir: Path | None = None,
    default_device: str = "auto",
    shelf: Shelf | None = None,
) -> Iterator[Run]:
    """A run on one device before its first step: weights loaded, images prepared, for the `with` block."""
    chosen = device.choose(config.device, default_device, config.devices)
    with contextlib.ExitStack() as stack:
        images = functools.partial(_decoded, stack, config, manifest, packs, scratch, shelf)
        yield _start(config, manifest, images, report, None, resolve_version, weights_dir, chosen).run()


@dataclass(frozen=True)
class _Start:
    """What a run begins with: the network on its device, and the decoded images."""

    config: TrainConfig
    manifest: Manifest
    network: Network
    images: Decoded
    device: torch.device
    dtype: torch.dtype
    report: Callable[[float], None]
    saved: Checkpoint | None

    def run(self, share: Share = ALONE) -> Run:
        """The run before its first step, or where `saved` left it."""
        train, validation = map(self.images.of_split, LEARNED)
        inputs = inputs_of(self.config, self.network, train, validation, self.device, self.dtype, self.report, share)
        run = Run(self.config, self.manifest, self.network, inputs, self.device, self.dtype, share)
        if self.saved is not None:
            run.restore(self.saved)
        return run


def _start(
    config: TrainConfig,
    manifest: Manifest,
    decode: Callable[[Callable[[float], None]], Decoded],
    report: Report,
    saved: Checkpoint | None,
    resolve_version: Callable[[int], Path] | None,
    weights_dir: Path | None,
    chosen: torch.device,
) -> _Start:
    device.prepare(chosen)
    torch.manual_seed(config.seed)
    network = networks.build(config, len(manifest.classes))
    report_share = functools.partial(_report_prepared, config, chosen, report)
    if saved is None:
        weights.load_initial(network, config, resolve_version, weights_dir, lambda: report_share(0.0))
    dtype = precision.choose(saved.run["precision"] if saved else config.precision, chosen, network)
    _check_devices(config, manifest, network)
    compilation.check(config, network, chosen)
    images = decode(report_share)
    if saved is not None:
        network.body.load_state_dict(saved.model)
    elif config.initial_weights == "none":
        networks.look_at_images(network, images.of_split("train").images_NCHW)
    # Channels last is the faster layout of convolutions; torch's stubs do not know it as an argument of `to`.
    network = network.to(chosen, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return _Start(config, manifest, network, images, chosen, dtype, report_share, saved)


def _follow(
    share: Share,
    chosen: torch.device,
    config: TrainConfig,
    manifest: Manifest,
    dtype: torch.dtype,
    images: Decoded,
    resume_from: Path | None,
) -> None:
    """What a process beside `fit` does: the same steps on its share of the images that `fit` decoded.

    It begins with the weights of `fit`, which are handed out before each epoch.
    """
    device.prepare(chosen)
    train = images.of_split("train")
    network = networks.build(config, len(manifest.classes))
    network = network.to(chosen, memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = Run(config, manifest, network, Pictures(config, train, train, chosen, share), chosen, dtype, share)
    if resume_from is not None:
        run.restore(checkpoint.load(resume_from))
    while number := share.next_epoch(0, chosen):
        run.follow(number)


def _check_devices(config: TrainConfig, manifest: Manifest, network: Network) -> None:
    images = len(manifest.of_split("train"))
    if config.devices > 1 and network.has_frozen_features:
        raise BadConfig(
            f"The features of a frozen backbone are computed once, on one device; {config.devices} were asked for. "
            "Choose 1 device, or let more of the network learn."
        )
    if config.devices > max(images, 1):
        raise BadConfig(f"{images} training images cannot be shared by {config.devices} devices. Choose fewer devices.")


def _decoded(
    stack: contextlib.ExitStack,
    config: TrainConfig,
    manifest: Manifest,
    packs: PackReader,
    scratch: Path,
    shelf: Shelf | None,
    report: Callable[[float], None],
) -> Decoded:
    """The images at the size of the network, for as long as `stack` is open; `report` hears the share that is done."""
    spec = InputSpec(size_px=config.image_size_px)
    return stack.enter_context(decoded(manifest, packs, spec, scratch.absolute(), shelf, report))


def _report_prepared(config: TrainConfig, chosen: torch.device, report: Report, share: float) -> None:
    told = device.describe(chosen, config.devices)
    report(Progress(epoch=0, epochs=config.epochs, step=0, steps=0, images_per_s=0, device=told, prepared=share))


def _report_metered(meter: EnergyMeter, report: Report, progress: Progress) -> None:
    meter.tick()
    report(progress)
