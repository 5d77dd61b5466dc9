"""The moving parts of a training run and the way through one epoch."""

import math
import time
from collections.abc import Callable
from typing import Any, cast

import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from ml import checkpoint, mixing, networks, optimization, precision, ranking
from ml.checkpoint import Checkpoint
from ml.compilation import Compilation
from ml.config import TrainConfig
from ml.convolution import quick_weight_gradients
from ml.energy import Sums
from ml.errors import BadConfig
from ml.inputs import Inputs
from ml.manifest import Manifest
from ml.networks import Network
from ml.progress import EpochResult, Progress, Report
from ml.selection import best_epoch, last_gain
from ml.share import ALONE, Share

_MAY_CHANGE = {"devices", "compile", "threads"}  # of the configuration, between the attempts of a run


class Run:
    """The moving parts of a run: all that a checkpoint holds, and the way through one epoch."""

    def __init__(
        self,
        config: TrainConfig,
        manifest: Manifest,
        network: Network,
        inputs: Inputs,
        device: torch.device,
        dtype: torch.dtype,
        share: Share = ALONE,
    ) -> None:
        self.config, self.device, self.dtype, self.share = config, device, dtype, share
        self.network, self.inputs = network, inputs
        self.generator = torch.Generator().manual_seed(config.seed)
        self.steps = inputs.steps()
        labels_N = torch.from_numpy(inputs.labels())
        self.classes = len(manifest.classes)
        self.loss = optimization.loss_of(config, labels_N, self.classes).to(device)
        self.average = optimization.averaged(config, network)
        self.optimizer = optimization.optimizer_of(config, network)
        self.schedule = optimization.schedule_of(config, self.optimizer, self.steps)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        self.compilation, self.compiled_epochs = Compilation(config, network, device), 0
        self.threads = torch.get_num_threads() * share.size if device.type == "cpu" else 0
        self.history: list[EpochResult] = []
        self.best: dict[str, Any] = {"epoch": 0, "model": {}}
        self.identity = {
            "format": checkpoint.FORMAT,
            "config": config.model_dump(mode="json", exclude=_MAY_CHANGE),
            "classes": list(manifest.classes),
            "dataset": manifest.content_sha256(),
        }

    def next_epoch(self) -> int:
        """Its number; 0 where the run is over."""
        patience = self.config.early_stopping_epochs
        has_stalled = patience > 0 and len(self.history) - last_gain(self.history) >= patience
        return 0 if has_stalled or len(self.history) >= self.config.epochs else len(self.history) + 1

    def progress(self, step: int, images_per_s: float, result: EpochResult | None = None) -> Progress:
        return Progress(
            epoch=result.number if result else len(self.history) + 1,
            epochs=self.config.epochs,
            step=step,
            steps=self.steps,
            step_s=min(self.config.batch_size, len(self.inputs.labels())) / images_per_s,
            epoch_s=self.history[-1].seconds if self.history else None,
            images_per_s=images_per_s,
            epoch_result=result,
        )

    def epoch(self, report: Report) -> EpochResult:
        """Figures of the next epoch, added to the history; raises BadConfig where the loss is no longer a number."""
        started_s, number = time.monotonic(), len(self.history) + 1
        train_loss, train_accuracy, images_per_s = self._train(number, report)
        loss, accuracy, auc = self._validate(lambda: report(self.progress(self.steps, images_per_s)))
        if not math.isfinite(train_loss + loss):
            raise BadConfig(
                f"The loss was no longer a number in epoch {number}. Lower the learning rate of "
                f"{self.config.learning_rate:g}, for example to {self.config.learning_rate / 10:g}."
            )
        result = EpochResult(
            number=number,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            validation_loss=loss,
            validation_accuracy=accuracy,
            validation_auc=auc,
            learning_rate=self.schedule.get_last_lr()[0],
            seconds=time.monotonic() - started_s,
            images_per_s=images_per_s,
        )
        self.compiled_epochs += self.compilation.note(result)
        self.history.append(result)
        self._keep_best()
        return result

    def follow(self, number: int) -> None:
        """The steps of an epoch on this share. Dropout differs between shares, and is the same after a resumption."""
        torch.manual_seed(self.config.seed + 1_000 * number + self.share.rank)
        self._train(number, lambda progress: None)

    def _train(self, number: int, report: Report) -> tuple[float, float, float]:
        """Loss, accuracy and images per second of one pass over the training images."""
        self.network.train()
        self.network.let_wait(networks.waiting_parts(self.config, number))
        learner = self.compilation.learner() if self.share.size == 1 else self.share.learner(self.network)
        sums = torch.zeros(2, device=self.device)  # loss, right answers: read once, so that a GPU is never waited for
        seen, started_s = 0, time.monotonic()
        batches = self.inputs.training(number, self.generator)
        for step, (inputs, labels_N) in enumerate(batches, start=1):
            moved = None
            try:
                moved = self.step(inputs, labels_N, learner)
            except RuntimeError as error:
                learner = self.compilation.give_up(error)
            # Once more, now that the error no longer holds what the step had in memory. The weights have not moved yet;
            # batch norm may see the batch twice, on a GPU, where no equal bits are promised.
            loss, logits_NK = moved or self.step(inputs, labels_N, learner)
            if self.average is not None:
                self.average.update_parameters(self.network)
            right = (logits_NK.argmax(dim=1) == labels_N).sum()
            sums += torch.stack([loss * len(labels_N), right])
            seen += len(labels_N) * self.share.size
            report(self.progress(step, seen / (time.monotonic() - started_s)))
        loss_sum, right_sum = self.share.total(sums).tolist()
        return loss_sum / seen, right_sum / seen, seen / (time.monotonic() - started_s)

    def step(self, inputs: Tensor, labels_N: Tensor, learner: nn.Module | None = None) -> tuple[Tensor, Tensor]:
        """Moves the weights by one batch; its loss before the move and its logits_NK, both on the device.

        The `learner` is the network, or what lets it learn from other shares of the batch as well.
        """
        inputs, targets = mixing.mixed(inputs, labels_N, self.classes, self.config, self.generator)
        self.optimizer.zero_grad()
        with quick_weight_gradients(self.device, self.dtype):
            logits_NK = self._logits(self.network if learner is None else learner, inputs)
        loss: Tensor = self.loss(logits_NK, targets)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        return loss.detach(), logits_NK

    @property
    def judged(self) -> Network:
        """The network that is validated and kept."""
        return self.network if self.average is None else cast(Network, self.average.module)

    def _logits(self, network: nn.Module, inputs: Tensor) -> Tensor:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self.inputs.logits(network, inputs).float()

    @torch.inference_mode()
    def _validate(self, tick: Callable[[], None]) -> tuple[float, float, float | None]:
        """Loss (plain cross-entropy), accuracy, and AUC of two classes; `tick` is called after every batch."""
        self.judged.eval()
        parts_NK, parts_N = [], []
        for inputs, labels_M in self.inputs.validation():
            parts_NK.append(self._logits(self.judged, inputs).cpu())
            parts_N.append(labels_M.cpu())
            tick()
        logits_NK, labels_N = torch.cat(parts_NK), torch.cat(parts_N)
        accuracy = (logits_NK.argmax(dim=1) == labels_N).double().mean().item()
        auc = None
        if logits_NK.shape[1] == 2:
            auc = ranking.auc(labels_N.numpy(), logits_NK.double().softmax(dim=1).numpy(), labels=[1]).value
        self._validation_images = len(labels_N)
        return functional.cross_entropy(logits_NK, labels_N).item(), accuracy, auc

    def _keep_best(self) -> None:
        number = len(self.history)
        if best_epoch(self.history, self._validation_images) == number:
            model = {name: tensor.cpu().clone() for name, tensor in self.judged.body.state_dict().items()}
            self.best = {"epoch": number, "model": model}

    def best_network(self) -> Network:
        self.network.body.load_state_dict(self.best["model"])
        return self.network.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]

    def checkpoint(self, energy: Sums) -> Checkpoint:
        """All that the run is now; `energy` are the sums of its attempts."""
        return Checkpoint(
            run=self.identity | {"precision": precision.name(self.dtype)},
            position={
                "epochs": len(self.history),
                "steps": len(self.history) * self.steps,
                "compiled_epochs": self.compiled_epochs,
                "threads": self.threads,
            },
            model=self.network.body.state_dict(),
            average={} if self.average is None else self.average.state_dict(),
            optimizer=self.optimizer.state_dict(),
            scheduler=self.schedule.state_dict(),
            scaler=self.scaler.state_dict(),
            rng={"torch": torch.get_rng_state(), "loader": self.generator.get_state(), "cuda": _cuda_rng_states()},
            history=[result.model_dump() for result in self.history],
            best=self.best,
            energy=energy,
        )

    def restore(self, saved: Checkpoint) -> None:
        """Everything as it was when `saved` was made; raises BadConfig where it belongs to another run."""
        theirs = saved.run | {"config": _complete(saved.run.get("config"))}
        for part, mine in self.identity.items():
            if theirs.get(part) != mine:
                raise BadConfig(f"The checkpoint was made with another {part}. Start a new training.")
        self.network.body.load_state_dict(saved.model)
        if self.average is not None:
            self.average.load_state_dict(saved.average)
        try:
            self.optimizer.load_state_dict(saved.optimizer)
        except ValueError as error:  # of a release in which other parts of this network learned
            raise BadConfig("The checkpoint was made while other weights learned. Start a new training.") from error
        self.schedule.load_state_dict(saved.scheduler)
        self.scaler.load_state_dict(saved.scaler)
        torch.set_rng_state(saved.rng["torch"])
        self.generator.set_state(saved.rng["loader"])
        if len(saved.rng["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(saved.rng["cuda"])
        self.history = [EpochResult(**result) for result in saved.history]
        self.compiled_epochs = saved.position.get("compiled_epochs", 0)  # 0 in a release that could not compile
        self.best = saved.best


def _complete(config: Any) -> Any:
    """A configuration of this release or an earlier one; what that did not know was as it is by default."""
    try:
        return TrainConfig.model_validate(config).model_dump(mode="json", exclude=_MAY_CHANGE)
    except ValidationError:
        return config


def _cuda_rng_states() -> list[Tensor]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
