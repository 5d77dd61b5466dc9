"""BentoML: the image as a multipart part that it hands over as a file; two worker processes.

`bentoml serve benchmarks.peers.bentoml_app:Model --port PORT`.
"""

from pathlib import Path

import bentoml

from benchmarks.peers.scorer import Scorer


@bentoml.service(workers=2)
class Model:
    def __init__(self) -> None:
        self.score = Scorer()

    @bentoml.api
    def predict(self, image: Path) -> dict[str, list[float]]:
        return {"probabilities": self.score(image.read_bytes())}
