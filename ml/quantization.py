"""Quantization: an exported graph that computes with integers of eight bits. Smaller everywhere; faster where it pays.

Static, in the form QDQ: each convolution has a scale for every output channel, and activations a range that training
images fixed (Jacob et al. 2018). What comes after the last feature map stays as it is: it costs nothing, and maps are
made of it.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml import embedding, evaluation, self_test
from ml.artifact import MODEL_FILES
from ml.decisions import OperatingPoint, decide
from ml.domain import Domain
from ml.evaluation import Evaluated
from ml.manifest import Manifest
from ml.pack import PackReader
from ml.self_test import SelfTest
from ml.serving import INPUT_NAME, Predictor
from ml.variants import Measured, Variants

# Measured by benchmarks/quantization.py. The depthwise convolutions of MobileNetV3 gain nothing, and cnn_fast next to
# nothing; EfficientNet-Lite0 is twice as fast, but loses too much.
NETWORKS: tuple[str, ...] = ("cnn", "resnet18")
_CALIBRATION_IMAGES = 128
_RUNS = 15
_OPERATORS = ["Conv", "Relu", "Clip", "Add", "MaxPool"]  # Clip: the ReLU6 of EfficientNet-Lite


class _Images:
    """What ONNX Runtime asks for batches to calibrate with."""

    def __init__(self, batches: Iterator[NDArray[np.uint8]], tick: Callable[[], None]) -> None:
        self._batches, self._tick = batches, tick

    def get_next(self) -> dict[str, Any] | None:
        self._tick()
        batch_NCHW = next(self._batches, None)
        return None if batch_NCHW is None else {INPUT_NAME: batch_NCHW}


def quantize(
    source: Path, target: Path, batches: Iterator[NDArray[np.uint8]], tick: Callable[[], None] = lambda: None
) -> None:
    """Writes the graph of `source` with integers, calibrated on `batches` of images as the network takes them.

    Weights have seven bits: their products with activations then fit into sixteen bits on every processor, so that one
    without VNNI adds up what one with it does. `tick` is called before each batch and may raise to stop.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static  # after `ml.onnx_runtime`
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            _Images(batches, tick),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def add(
    exact: Predictor,
    manifest: Manifest,
    packs: PackReader,
    folder: Path,
    validated: Evaluated,
    point: OperatingPoint | None,
    guard: Domain | None,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Variants | None:
    """What the graph in `folder`, and the smaller one that now lies beside it with its self-test, do on 'validation'.

    None for a network that gains nothing. `validated` is what the `exact` one said. `report` may raise to stop.
    """
    if exact.card.network not in NETWORKS:
        return None
    smaller = _smaller(exact, manifest, packs, folder, report)
    again = evaluation.evaluate_split(smaller, manifest, packs, "validation", point, report)
    speeds = images_per_s([_alone(one, folder) for one in (exact, smaller)], _timed(exact, manifest, packs))
    measured = [
        Measured(
            variant=one.variant,
            size_mb=_file(one, folder).stat().st_size / 1e6,
            accuracy=_accuracy(evaluated, point),
            auc=evaluated.metrics.auc.value,
            within=_within(one, manifest, packs, guard),
            images_per_s=speed,
        )
        for one, evaluated, speed in zip((exact, smaller), (validated, again), speeds, strict=True)
    ]
    return Variants.of(len(again.truth_N), measured)


def _smaller(
    exact: Predictor, manifest: Manifest, packs: PackReader, folder: Path, report: Callable[[int, int], None]
) -> Predictor:
    """The graph with integers, calibrated on training images spread evenly; its file and its self-test are written."""
    rows = evaluation.rows_of(manifest, "train")
    places = np.linspace(0, len(rows) - 1, min(len(rows), _CALIBRATION_IMAGES)).round().astype(int)
    batches, path = evaluation.pixels(exact, packs, [rows[place] for place in places]), folder / MODEL_FILES["int8"]
    quantize(_file(exact, folder), path, batches, lambda: report(0, 0))
    found = Predictor(path, exact.card, threads=0, variant="int8")
    SelfTest.of(found).write(folder / self_test.NAMES["int8"])
    return found


def _file(predictor: Predictor, folder: Path) -> Path:
    return folder / MODEL_FILES[predictor.variant]


def _alone(predictor: Predictor, folder: Path) -> Predictor:
    """The same on one thread, as it serves."""
    return Predictor(_file(predictor, folder), predictor.card, variant=predictor.variant)


def _accuracy(evaluated: Evaluated, point: OperatingPoint | None) -> float | None:
    """The share of right answers at the operating point."""
    scores = evaluated.metrics
    decided_N = decide(evaluated.probabilities_NK, scores.confusion.labels, scores.positive_class, point)
    return float((decided_N == evaluated.truth_N).mean()) if len(decided_N) else None


def _within(predictor: Predictor, manifest: Manifest, packs: PackReader, guard: Domain | None) -> float | None:
    """The share of the validation images that the guard lets pass."""
    if guard is None:
        return None
    seen = embedding.of_split(predictor, manifest, packs, "validation")
    return float(guard.holds(seen.embedding_NC, seen.look_NS).mean())


def _timed(predictor: Predictor, manifest: Manifest, packs: PackReader) -> NDArray[np.uint8]:
    """The images by which speed is measured: of validation, as they are served."""
    rows = evaluation.rows_of(manifest, "validation") or evaluation.rows_of(manifest, "train")
    return next(evaluation.pixels(predictor, packs, rows[:_RUNS]))


def images_per_s(predictors: Sequence[Predictor], images_NCHW: NDArray[np.uint8]) -> list[float]:
    """How many of these each answers in a second, taken in turns so that what else the machine does is shared."""
    seconds: list[list[float]] = [[] for _ in predictors]
    for run in range(_RUNS + 3):
        image_NCHW = images_NCHW[run % len(images_NCHW)][None]
        for predictor, taken_s in zip(predictors, seconds, strict=True):
            started_s = time.perf_counter()
            predictor.probabilities(image_NCHW)
            if run >= 3:  # the first ones warm up
                taken_s.append(time.perf_counter() - started_s)
    return [1 / float(np.median(taken_s)) for taken_s in seconds]
