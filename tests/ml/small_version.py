"""A version of a few bytes: a graph that calls bright images malignant, and a card that says so."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ml.artifact import FILES, Card, Parity, TrainedOn, file_sha256
from ml.config import TrainConfig
from ml.decisions import OperatingPoint
from ml.images import InputSpec

CLASSES = ("benign", "malignant")
# Of the mean brightness in [0, 1], between those of the dark and the bright images of `small_dataset`.
MIDDLE = 0.431


def write_model(
    path: Path,
    size_px: int = 32,
    classes: int = 2,
    gain: float = 50.0,
    output: str = "probabilities",
    leaning: float = 0.0,
    explains: bool = True,
) -> None:
    """softmax over the classes k of k * gain * (mean brightness - MIDDLE); the last one's logit gets `leaning` more.

    The mean is that of a map of 4 x 4 cells, so brightness itself is what speaks for the last class.
    """
    side = size_px // 4
    slopes = np.arange(classes, dtype=np.float32)[None, :] * np.float32(gain)
    constants = {
        "thirds": np.full((1, 3, 1, 1), 1 / 3, np.float32),
        "sides": np.array([2, 3]),
        "scale": np.array(1 / 255, np.float32),
        "middle": np.array(MIDDLE, np.float32),
        "slopes": slopes,
        "one": np.array([1]),
        "bias": np.eye(classes, dtype=np.float32)[-1:] * np.float32(leaning),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["pixels", "thirds"], ["grey"]),
        helper.make_node("AveragePool", ["grey"], ["cells"], kernel_shape=[side, side], strides=[side, side]),
        helper.make_node("Mul", ["cells", "scale"], ["grid"]),
        helper.make_node("ReduceMean", ["grid", "sides"], ["means_NC"], keepdims=0),
        helper.make_node("Sub", ["means_NC", "middle"], ["centered"]),
        helper.make_node("MatMul", ["centered", "slopes"], ["slanted"]),
        helper.make_node("Add", ["slanted", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], [output], axis=1),
    ]
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", classes])]
    if explains:
        nodes += [
            helper.make_node("Unsqueeze", ["grid", "one"], ["features_NVCHW"]),
            helper.make_node("Unsqueeze", ["means_NC", "one"], ["embedding_NVC"]),
        ]
        constants["last_weight_KF"] = slopes.T.copy()
        outputs += [
            helper.make_tensor_value_info("features_NVCHW", TensorProto.FLOAT, ["N", 1, 1, 4, 4]),
            helper.make_tensor_value_info("embedding_NVC", TensorProto.FLOAT, ["N", 1, 1]),
            helper.make_tensor_value_info("last_weight_KF", TensorProto.FLOAT, [classes, 1]),
        ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 3, size_px, size_px])],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def card(classes: tuple[str, ...] = CLASSES, size_px: int = 32, operating_point: OperatingPoint | None = None) -> Card:
    """A card whose facts are made up, but for those that the graph must agree with."""
    return Card(
        name="Brightness",
        network="cnn",
        classes=classes,
        positive_class=classes[1] if len(classes) == 2 else None,
        input=InputSpec(size_px=size_px),
        config=TrainConfig(),
        dataset=TrainedOn(name="Discs", sha256="0" * 64, images={"train": 8, "validation": 4, "test": 4}),
        operating_point=operating_point,
        parity=Parity(max_abs_difference=1e-7, images=4, tolerance=1e-4),
        parameters=2,
        seed=0,
        epochs_run=3,
        best_epoch=2,
        device="cpu",
        precision="float32",
        wall_s=1.5,
        packages={"torch": "2.13.0"},
        created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )


def write(folder: Path, described: Card | None = None, leaning: float = 0.0, explains: bool = True) -> Card:
    """The version in the folder: its files, and the card that describes them, with their hashes."""
    described = described or card()
    size_px, classes = described.input.size_px, len(described.classes)
    write_model(folder / "model.onnx", size_px, classes, leaning=leaning, explains=explains)
    (folder / "model.pt2").write_bytes(b"program")
    (folder / "state_dict.safetensors").write_bytes(b"tensors")
    complete = described.model_copy(update={"files": {name: file_sha256(folder / name) for name in FILES}})
    complete.write(folder)
    return complete
