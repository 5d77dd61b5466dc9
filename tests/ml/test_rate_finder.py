"""The learning-rate range test: its curve, its suggestion, its end."""

from pathlib import Path

import pytest
from safetensors.torch import save_file

from ml import networks, rate_curve, rate_finder
from ml.config import TrainConfig
from ml.errors import Cancelled
from ml.progress import Progress
from ml.rate_curve import RateCurve, curve_of, rate_at
from ml.rate_finder import find_rate
from ml.run import Run
from tests.ml import small_dataset


def curve_with(folder: Path, weights_dir: Path | None = None, **fields: object) -> RateCurve:
    config = TrainConfig.model_validate({"image_size_px": 32, "batch_size": 8, "device": "cpu", **fields})
    data = small_dataset.build(folder / "data")
    return find_rate(config, data.manifest, data.packs, folder, lambda progress: None, weights_dir=weights_dir)


def test_the_rate_rises_by_one_factor_until_the_loss_is_far_above_its_lowest(tmp_path: Path) -> None:
    curve = curve_with(tmp_path, optimizer="sgd")
    assert curve.rates[0] == rate_curve.LOWEST_RATE
    assert curve.rates[50] / curve.rates[49] == pytest.approx(curve.rates[1] / curve.rates[0])
    assert len(curve.rates) == len(curve.losses) == len(curve.smoothed) < rate_curve.STEPS
    assert curve.smoothed[-2] <= rate_curve.DIVERGED * min(curve.smoothed)
    assert curve.suggested_rate is not None
    assert 1e-5 < curve.suggested_rate < 1


def test_the_configured_rate_and_schedule_do_not_count_and_the_seed_makes_it_repeatable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_finder, "STEPS", 6)
    one = curve_with(tmp_path / "one", learning_rate=0.5, schedule="step", warmup_epochs=2, layer_decay=0.5)
    other = curve_with(tmp_path / "other", learning_rate=1e-4, layer_decay=0.5)
    assert one.losses == other.losses
    assert len(one.losses) == 6


def test_gradual_unfreezing_lets_nothing_wait_and_leaves_nothing_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    donor = networks.build(TrainConfig(network="mobilenet_v3_small"), 2)
    save_file(donor.body.state_dict(), tmp_path / "a.safetensors")
    monkeypatch.setattr(rate_finder, "STEPS", 2)
    learning = []

    def noted(run: Run, *batch: object) -> object:
        learning.append(all(weight.requires_grad for weight in run.network.parameters()))
        return step(run, *batch)

    step = Run.step
    monkeypatch.setattr(Run, "step", noted)
    fields = {"network": "mobilenet_v3_small", "initial_weights": "file:a.safetensors", "image_size_px": 32}
    curve_with(tmp_path / "run", tmp_path, unfreeze_epochs=1, **fields)
    assert learning == [True, True]


def test_the_suggestion_is_the_middle_of_the_longest_valley() -> None:
    flat, valley, wall = [1.0] * 40, [1.0 - 0.04 * step for step in range(20)], [5.0] * 5
    curve = curve_of([*flat, *valley, *wall])
    assert rate_at(45) < curve.suggested_rate < rate_at(56)


def test_a_loss_that_never_falls_suggests_nothing() -> None:
    assert curve_of([0.69, 0.70, 0.68, 0.69, 0.9]).suggested_rate is None


def test_whoever_watches_can_stop_it(tmp_path: Path) -> None:
    data, seen = small_dataset.build(tmp_path / "data"), []

    def report(progress: Progress) -> None:
        seen.append(progress.step)
        if progress.step == 3:
            raise Cancelled

    config = TrainConfig(image_size_px=32, batch_size=8)
    with pytest.raises(Cancelled):
        find_rate(config, data.manifest, data.packs, tmp_path, report)
    assert seen[-3:] == [1, 2, 3]
