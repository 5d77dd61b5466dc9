"""Mosec: the body is the image, two workers; its HTTP server is written in Rust. `mosec_app.py --port PORT`."""

from mosec import Server, Worker

from benchmarks.peers.scorer import Scorer


class Model(Worker):
    def __init__(self) -> None:
        self.score = Scorer()

    def deserialize(self, data: bytes) -> bytes:
        return data

    def forward(self, data: bytes) -> dict[str, list[float]]:
        return {"probabilities": self.score(data)}


if __name__ == "__main__":
    server = Server()
    server.append_worker(Model, num=2)
    server.run()
