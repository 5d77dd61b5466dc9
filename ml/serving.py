"""Serving: an exported version answers what an image shows. ONNX Runtime, free of torch."""

import functools
import itertools
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ml import appearance, explain, images, onnx_runtime
from ml.artifact import Card
from ml.config import Frozen, ServingDevice, Variant
from ml.decisions import OperatingPoint, decide
from ml.domain import Domain, is_within
from ml.errors import BadArtifact, DeviceFault, NoExplanation
from ml.explain import Head, Seen
from ml.onnx_runtime import errors

log = logging.getLogger(__name__)
INPUT_NAME = "images"
OUTPUT_NAME = "probabilities"

_DOES_NOT_LOAD = (
    errors.Fail,
    errors.InvalidArgument,
    errors.InvalidGraph,
    errors.InvalidProtobuf,
    errors.NoSuchFile,
    errors.NotImplemented,
    errors.RuntimeException,
    OSError,
)


class Answer(Frozen):
    """What the model says of one image.

    `label` is the positive class where its probability reaches the operating point's threshold (0.5 without one), and
    the most probable class where there is no positive class; `probability` is its own. `decision` is the label, but
    None where the version's policy abstains. `prediction_set` are the classes that a conformal policy cannot rule out;
    without such a policy it is None. Of an image outside the domain nothing is said: `in_domain` is False, and it is
    None where that is not looked at.
    """

    label: str | None
    probability: float | None
    probabilities: dict[str, float]
    decision: str | None
    operating_point: OperatingPoint | None = None
    abstained: bool = False
    prediction_set: tuple[str, ...] | None = None
    in_domain: bool | None = None
    distances: tuple[float, ...] = Field((), exclude=True)  # the guard's, for whoever watches; no part of what is said


class Predictor:
    """A loaded version. Threads may share it; it must be made after a fork, not before."""

    def __init__(
        self,
        model_path: Path,
        card: Card,
        threads: int = 1,
        domain: Domain | None = None,
        variant: Variant = "float32",
        device: ServingDevice = "cpu",
    ) -> None:
        """Loads the graph; the file is not needed afterwards. `threads` of one answer; 0: as many as cores.

        With a `domain` images outside it get no label; scores and `judge` know nothing of it. The `variant` is that
        of the file; int8 is made for processors, and is computed there whatever the `device`.

        Raises BadArtifact where the graph does not load or is not the one that the card describes, and DeviceFault
        where the device cannot be used.
        """
        self.card, self.domain, self.variant = card, domain, variant
        try:
            self._session = onnx_runtime.session(model_path, threads, "cpu" if variant == "int8" else device)
        except _DOES_NOT_LOAD as error:
            raise BadArtifact(
                f"The model of '{card.name}' does not load: it is damaged or needs a newer ONNX Runtime. "
                "Export the version again."
            ) from error
        self.device = onnx_runtime.device_of(self._session)  # 'cpu' or 'cuda'
        self.device_fault: str | None = None  # why the last run failed, where the device was to blame
        self._failing_since_s = 0.0
        self._given = [node.name for node in self._session.get_outputs()]
        self._check_signature()

    @property
    def failing_s(self) -> float:
        """For how long the device has failed at every run; 0 where the last one was well."""
        return time.monotonic() - self._failing_since_s if self.device_fault else 0.0

    @property
    def can_explain(self) -> bool:
        """Whether the graph gives what a class activation map needs; one of an old release does not."""
        return len(self._given) > 1

    def probabilities(self, batch_NCHW: NDArray[np.uint8]) -> NDArray[np.float32]:
        """probabilities_NK of images as `ml.images.to_input` makes them. Raises BadArtifact if one is not finite."""
        if not len(batch_NCHW):
            return np.zeros((0, len(self.card.classes)), np.float32)
        return self._run([OUTPUT_NAME], batch_NCHW)[0]

    def see(self, batch_NCHW: NDArray[np.uint8]) -> Seen:
        """The probabilities of one image or more, and what explains them. Raises BadArtifact, NoExplanation."""
        if not self.can_explain:
            raise NoExplanation(
                f"'{self.card.name}' was exported by a release without class activation maps, so it has none. "
                "Ask without them, or train again and activate the new version."
            )
        return Seen(self._head, *self._run([OUTPUT_NAME, *explain.OF_IMAGES], batch_NCHW))

    @functools.cached_property
    def _head(self) -> Head:
        """Constants of the graph, which tells them with any image."""
        size_px, names = self.card.input.size_px, self._given[1 + len(explain.OF_IMAGES) :]
        blank_NCHW = np.zeros((1, self.card.input.channels, size_px, size_px), np.uint8)
        return Head(**dict(zip(names, self._run([OUTPUT_NAME, *names], blank_NCHW)[1:], strict=True)))

    def _run(self, outputs: list[str], batch_NCHW: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The outputs, the first of which are the probabilities."""
        try:
            found: list[NDArray[np.float32]] = self._session.run(outputs, {INPUT_NAME: batch_NCHW})
        except onnx_runtime.DEVICE_ERRORS as error:  # such as a GPU whose memory others have taken
            if self.device_fault is None:
                log.error("device_failed", extra={"device": self.device, "reason": f"{type(error).__name__}: {error}"})
                self._failing_since_s = time.monotonic()
            self.device_fault = (
                f"The device '{self.device}' failed to compute an answer of '{self.card.name}'. Ask again; where it "
                "stays so, look at its memory and its driver, and start the site again."
            )
            raise DeviceFault(self.device_fault) from error
        self.device_fault = None
        if not np.isfinite(found[0]).all():
            raise BadArtifact(
                f"The model of '{self.card.name}' gave a probability that is not a number. Activate another version."
            )
        return found

    def explain(self, image_HWC: NDArray[np.uint8]) -> tuple[Answer, NDArray[np.float32]]:
        """What the model says of one decoded image, and the map_HW of its label; of no label the map is empty.

        Raises BadArtifact, NoExplanation.
        """
        return self.explained(images.to_input(image_HWC, self.card.input))

    def explained(self, input_CHW: NDArray[np.uint8]) -> tuple[Answer, NDArray[np.float32]]:
        """The same of an image as `ml.images.to_input` makes it."""
        batch_NCHW = input_CHW[None]
        seen = self.see(batch_NCHW)
        (answer,) = self._answered(batch_NCHW, seen)
        if answer.label is None:
            return answer, np.zeros((1, 1), np.float32)
        return answer, seen.maps(np.array([self.card.classes.index(answer.label)]))[0]

    def answer(self, image_HWC: NDArray[np.uint8]) -> Answer:
        """What the model says of one decoded image of any size."""
        return self.answers([image_HWC])[0]

    def answers(self, images_HWC: Sequence[NDArray[np.uint8]]) -> list[Answer]:
        """What the model says of each decoded image, computed in one batch."""
        if not images_HWC:
            return []
        return self.answers_of(np.stack([images.to_input(image_HWC, self.card.input) for image_HWC in images_HWC]))

    def answers_of(self, batch_NCHW: NDArray[np.uint8]) -> list[Answer]:
        """The same of images as `ml.images.to_input` makes them."""
        if self.domain is None:
            return self.judge(self.probabilities(batch_NCHW), self.card.operating_point)
        return self._answered(batch_NCHW, self.see(batch_NCHW))

    def _answered(self, batch_NCHW: NDArray[np.uint8], seen: Seen) -> list[Answer]:
        answers = self.judge(seen.probabilities_NK, self.card.operating_point)
        if self.domain is None:
            return answers
        try:
            distances_2N = self.domain.distances(seen.directions, appearance.figures(batch_NCHW))
        except ValueError as error:
            raise BadArtifact(
                f"The guard of '{self.card.name}' does not fit its graph: {error}. Export the version again."
            ) from error
        foreign = Answer(
            label=None,
            probability=None,
            probabilities={},
            decision=None,
            operating_point=self.card.operating_point,
            abstained=True,
        )
        is_in_N, pairs_N2 = is_within(distances_2N).tolist(), distances_2N.T.tolist()
        return [
            (answer if is_in else foreign).model_copy(update={"in_domain": is_in, "distances": tuple(pair)})
            for answer, is_in, pair in zip(answers, is_in_N, pairs_N2, strict=True)
        ]

    def judge(self, probabilities_NK: NDArray[np.floating], operating_point: OperatingPoint | None) -> list[Answer]:
        """Probabilities turned into answers at an operating point, which need not be the card's own."""
        classes = self.card.classes
        decided_N = decide(probabilities_NK, classes, self.card.positive_class, operating_point)
        policy = self.card.abstention.policy if self.card.abstention else None
        is_open_N = policy.abstains(probabilities_NK, decided_N) if policy else np.zeros(len(decided_N), np.bool_)
        sets_NK = policy.sets(probabilities_NK) if policy and policy.kind == "conformal" else None
        return [
            Answer(
                label=classes[decided],
                probability=row[decided],
                probabilities=dict(zip(classes, row, strict=True)),
                decision=None if is_open else classes[decided],
                operating_point=operating_point,
                abstained=is_open,
                prediction_set=None if sets_NK is None else tuple(itertools.compress(classes, sets_NK[number])),
            )
            for number, (decided, is_open, row) in enumerate(
                zip(decided_N.tolist(), is_open_N.tolist(), probabilities_NK.tolist(), strict=True)
            )
        ]

    def self_test(self) -> None:
        """Returns where a fixed image gets an answer, with probabilities that add up to 1; else raises BadArtifact.

        `ml.self_test` says more, of versions that keep what they must say.
        """
        size_px = self.card.input.size_px
        ramp_HW = np.linspace(0, 255, size_px * size_px).astype(np.uint8).reshape(size_px, size_px)
        batch_NCHW = np.ascontiguousarray(np.broadcast_to(ramp_HW, (1, self.card.input.channels, size_px, size_px)))
        self.answers_of(batch_NCHW)
        total = float(self.probabilities(batch_NCHW).sum())
        if abs(total - 1) > 1e-3:
            raise BadArtifact(f"The probabilities of '{self.card.name}' add up to {total:.3f}, not to 1.")

    def _check_signature(self) -> None:
        """Compares names, types and shapes; the size of the batch is free. What explains is told by its names."""
        size_px, classes = self.card.input.size_px, len(self.card.classes)
        expected = (
            [(INPUT_NAME, "tensor(uint8)", [self.card.input.channels, size_px, size_px])],
            [(OUTPUT_NAME, "tensor(float)", [classes])],
        )
        found = tuple(
            [(node.name, node.type, node.shape[1:]) for node in nodes]
            for nodes in (self._session.get_inputs(), self._session.get_outputs()[:1])
        )
        beside = tuple(self._given[1:])
        known = ((), *(explain.OF_IMAGES + explain.OF_HEAD[:weights] for weights in (1, 3)))
        if found != expected or beside not in known:
            raise BadArtifact(
                f"The model of '{self.card.name}' takes and gives {found} and {beside}; its card says {expected}. "
                "Export the version again."
            )
