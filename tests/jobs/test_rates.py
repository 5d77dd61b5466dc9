"""A learning-rate range test through a real worker."""

from pathlib import Path

from ml.config import TrainConfig
from ml.rate_curve import RateCurve
from tests.jobs.processes import Processes, upload, wait_for
from webapp.models import User
from webapp.rates import service


def test_a_range_test_ends_with_a_curve(processes: Processes, researcher: User, tmp_path: Path) -> None:
    processes.worker()
    dataset = wait_for(upload(researcher, tmp_path), lambda row: row.status == "ready")
    config = TrainConfig(image_size_px=32, batch_size=8)
    row = wait_for(service.create(dataset.id, "Rate", config, researcher), lambda row: row.status == "succeeded")
    curve = RateCurve.model_validate(row.curve)
    assert len(curve.losses) > 50
    assert (row.progress, row.attempts, row.device.partition(":")[0]) == (1.0, 1, "cpu")
