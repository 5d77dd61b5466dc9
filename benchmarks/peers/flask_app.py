"""The smallest Flask application, for Gunicorn: what the framework itself costs."""

from flask import Flask, request

from benchmarks.peers.scorer import Scorer

app = Flask(__name__)
score = Scorer()


@app.post("/predict")
def predict() -> dict[str, list[float]]:
    return {"probabilities": score(request.get_data())}
