"""A version whose graph is a real network of the registry, exported as every version is: slower to make, once a run."""

import functools
import tempfile
from pathlib import Path

import torch

from ml import export, networks, self_test
from ml.artifact import FILES, Card, file_sha256
from ml.config import TrainConfig
from ml.images import InputSpec
from ml.self_test import SelfTest
from ml.serving import Predictor
from tests.ml.small_dataset import draw

SELF_TEST = self_test.NAMES["float32"]


def write(folder: Path, described: Card) -> Card:
    """The version in the folder: its files, and the card that describes them, with their hashes."""
    for name, data in _model_files(described.network, described.input.size_px, len(described.classes)).items():
        (folder / name).write_bytes(data)
    SelfTest.of(Predictor(folder / "model.onnx", described)).write(folder / SELF_TEST)
    hashes = {name: file_sha256(folder / name) for name in (*FILES, SELF_TEST)}
    complete = described.model_copy(update={"files": hashes})
    complete.write(folder)
    return complete


@functools.cache
def _model_files(network: str, size_px: int, classes: int) -> dict[str, bytes]:
    """Of a network with random weights whose batch norm has seen discs: with fresh statistics all images are alike."""
    config = TrainConfig.model_validate({"network": network, "image_size_px": size_px})
    with torch.random.fork_rng(), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        built = networks.build(config, classes).train()
        discs = [torch.from_numpy(draw(number % 2 == 1, size_px, number).transpose(2, 0, 1)) for number in range(16)]
        for _ in range(5):
            built(torch.stack(discs))
        export.write_files(built.eval(), InputSpec(size_px=size_px), Path(folder))
        return {name: (Path(folder) / name).read_bytes() for name in FILES}
