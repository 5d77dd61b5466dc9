"""What every side of the comparison does with an image file: decode, resize, run the model."""

import os
from pathlib import Path

from ml import images
from ml.images import InputSpec
from ml.onnx_runtime import onnxruntime

MODEL = "SERVED_MODEL"  # environment variable: path of the exported graph


class Scorer:
    """The graph on one thread, whose inputs are squares of `size_px`."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = str(Path(os.environ[MODEL]))
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._spec = InputSpec(size_px=self._session.get_inputs()[0].shape[2])

    def __call__(self, data: bytes) -> list[float]:
        """The probabilities of the classes."""
        batch_NCHW = images.read_input(data, self._spec)[None]
        (probabilities_NK,) = self._session.run(["probabilities"], {"images": batch_NCHW})
        found: list[float] = probabilities_NK[0].tolist()
        return found
