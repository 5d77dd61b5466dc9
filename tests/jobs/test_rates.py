"""A learning-rate range test through a real worker."""

from ml.config import TrainConfig
from ml.rate_curve import RateCurve
from tests.jobs.processes import Processes, wait_for
from webapp.models import Dataset, User
from webapp.rates import service


def test_a_range_test_ends_with_a_curve(processes: Processes, researcher: User, dataset: Dataset) -> None:
    processes.worker()
    config = TrainConfig(image_size_px=32, batch_size=8)
    row = wait_for(service.create(dataset.id, "Rate", config, researcher), lambda row: row.status == "succeeded")
    curve = RateCurve.model_validate(row.curve)
    assert len(curve.losses) > 50
    assert (row.progress, row.attempts, row.device.partition(":")[0]) == (1.0, 1, "cpu")
