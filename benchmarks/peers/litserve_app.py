"""LitServe: the image as a multipart part, since it takes no raw bodies; two workers. `litserve_app.py PORT`."""

import sys

import litserve
from fastapi import Request

from benchmarks.peers.scorer import Scorer


class Model(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.score = Scorer()

    def decode_request(self, request: Request) -> bytes:  # what comes is the form
        data: bytes = request["image"].file.read()
        return data

    def predict(self, data: bytes) -> list[float]:
        return self.score(data)

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        return {"probabilities": output}


if __name__ == "__main__":
    server = litserve.LitServer(Model(), accelerator="cpu", workers_per_device=2)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
