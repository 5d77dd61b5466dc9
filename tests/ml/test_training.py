"""The training loop, on a data set of a few drawn images."""

import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ml import checkpoint, networks, training
from ml.config import TrainConfig
from ml.energy import Counter, Energy
from ml.errors import BadConfig, Cancelled, MissingWeights
from ml.inputs import Pictures
from ml.loader import Cached
from ml.presets import presets
from ml.selection import best_epoch, last_gain
from ml.training import Fitted, Progress
from tests.ml import small_dataset
from tests.ml.small_dataset import SmallDataset

STILL = {"horizontal_flip": False, "crop_scale": 1, "rotation_degrees": 0, "color_jitter": 0}
OVERFITTING = {"epochs": 15, "batch_size": 8, "schedule": "constant", "warmup_epochs": 0, "dropout": 0.0}


def _config(**fields: object) -> TrainConfig:
    small = {
        "image_size_px": 32,
        "epochs": 2,
        "batch_size": 4,
        "augmentation": STILL,
        "device": "cpu",
        "precision": "float32",
    }
    return TrainConfig.model_validate({**small, **fields})


def _fit(
    config: TrainConfig,
    data: SmallDataset,
    scratch: Path,
    report: Callable[[Progress], None] = lambda progress: None,
    save_checkpoint: Callable[[Path, int], None] = lambda path, epoch: None,
    resume_from: Path | None = None,
    weights_dir: Path | None = None,
) -> Fitted:
    scratch.mkdir(parents=True, exist_ok=True)
    manifest, packs = data.manifest, data.packs
    return training.fit(config, manifest, packs, scratch, report, save_checkpoint, resume_from, weights_dir=weights_dir)


@pytest.mark.parametrize("network", networks.REGISTRY)
def test_overfits_eight_images(tmp_path: Path, network: str) -> None:
    data = small_dataset.build(tmp_path / "data")
    fitted = _fit(_config(network=network, learning_rate=3e-3, **OVERFITTING), data, tmp_path / "run")
    assert fitted.history[-1].train_accuracy == 1
    assert fitted.history[-1].train_loss < 0.1


def _donor(network: str) -> dict[str, torch.Tensor]:
    """Random weights for three classes; their batch norm knows images like ours, as that of published weights does."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        donor = networks.build(_config(network=network), 3).train()
        for module in donor.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # the plain mean of what it sees
        images_NHWC = np.stack([small_dataset.draw(seed % 2 == 1, 32, seed) for seed in range(100, 132)])
        donor(torch.from_numpy(images_NHWC).permute(0, 3, 1, 2))
        return donor.body.state_dict()


@pytest.mark.parametrize(("network", "head"), [("mobilenet_v3_small", "classifier."), ("resnet18", "fc.")])
def test_a_new_head_on_a_frozen_backbone_fits_eight_images(tmp_path: Path, network: str, head: str) -> None:
    donor = _donor(network)
    save_file(donor, tmp_path / "donor.safetensors")
    fields = {**OVERFITTING, "network": network, "trainable_stages": 0, "learning_rate": 1e-2, "epochs": 30}
    config = _config(initial_weights="file:donor.safetensors", **fields)
    data = small_dataset.build(tmp_path / "data")
    fitted = _fit(config, data, tmp_path / "run", weights_dir=tmp_path)
    assert fitted.history[-1].train_accuracy == 1
    assert fitted.history[-1].train_loss < fitted.history[0].train_loss / 3
    after = fitted.network.body.state_dict()  # with the statistics of batch norm
    assert all(torch.equal(after[name], donor[name]) for name in donor if not name.startswith(head))


def test_the_same_seed_trains_the_same_bits(tmp_path: Path) -> None:
    data, config = small_dataset.build(tmp_path / "data"), _config()
    one, other = (_fit(config, data, tmp_path / name).network.body.state_dict() for name in ("one", "other"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_resumed_feature_extraction_ends_with_the_same_bits(tmp_path: Path) -> None:
    save_file(_donor("mobilenet_v3_small"), tmp_path / "donor.safetensors")
    data, kept = small_dataset.build(tmp_path / "data", train=16), tmp_path / "kept.pt"
    fields = {"network": "mobilenet_v3_small", "initial_weights": "file:donor.safetensors", "feature_views": 2}
    config = _config(epochs=3, augmentation={}, dropout=0.5, **fields)

    def keep_the_first(path: Path, epoch: int) -> None:
        if epoch == 1:
            shutil.copy(path, kept)

    whole = _fit(config, data, tmp_path / "a", save_checkpoint=keep_the_first, weights_dir=tmp_path)
    resumed = _fit(config, data, tmp_path / "b", resume_from=kept, weights_dir=tmp_path)
    pairs = zip(whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_frozen_features_are_computed_once_for_each_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(_donor("mobilenet_v3_small"), tmp_path / "donor.safetensors")
    seen: list[int] = []
    halves = networks.REGISTRY["mobilenet_v3_small"].halves

    def counted(body: torch.nn.Module, images_NCHW: torch.Tensor) -> torch.Tensor:
        seen.append(len(images_NCHW))
        return halves.grid(body, images_NCHW)

    architecture = replace(networks.REGISTRY["mobilenet_v3_small"], halves=replace(halves, grid=counted))
    monkeypatch.setitem(networks.REGISTRY, "mobilenet_v3_small", architecture)
    fields = {"network": "mobilenet_v3_small", "initial_weights": "file:donor.safetensors", "feature_views": 3}
    data = small_dataset.build(tmp_path / "data")
    _fit(_config(epochs=7, **fields), data, tmp_path / "run", weights_dir=tmp_path)
    assert sum(seen) == 3 * 8 + 4


def test_a_frozen_backbone_refuses_a_second_device(tmp_path: Path) -> None:
    save_file(_donor("mobilenet_v3_small"), tmp_path / "donor.safetensors")
    fields = {"network": "mobilenet_v3_small", "initial_weights": "file:donor.safetensors", "devices": 2}
    with pytest.raises(BadConfig, match="computed once, on one device; 2 were asked for"):
        _fit(_config(**fields), small_dataset.build(tmp_path / "data"), tmp_path / "run", weights_dir=tmp_path)


def test_a_run_can_be_stopped_while_features_are_computed(tmp_path: Path) -> None:
    save_file(_donor("mobilenet_v3_small"), tmp_path / "donor.safetensors")
    data = small_dataset.build(tmp_path / "data")
    shares: list[float] = []

    def stop(progress: Progress) -> None:
        shares.append(progress.prepared)
        if shares.count(0.0) == 2:  # of the images, then of their features
            raise Cancelled

    config = _config(network="mobilenet_v3_small", initial_weights="file:donor.safetensors")
    with pytest.raises(Cancelled):
        _fit(config, data, tmp_path / "run", stop, weights_dir=tmp_path)


def test_a_resumed_run_keeps_the_precision_in_which_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, kept = small_dataset.build(tmp_path / "data"), tmp_path / "kept.pt"
    monkeypatch.setattr("ml.precision._fastest", lambda *of: torch.bfloat16)
    config = _config(precision="auto")
    _fit(config, data, tmp_path / "a", save_checkpoint=lambda path, epoch: shutil.copy(path, kept))
    monkeypatch.setattr("ml.precision._fastest", lambda *of: torch.float32)
    assert checkpoint.load(kept).run["precision"] == "bfloat16"
    _fit(config, data, tmp_path / "b", resume_from=kept, save_checkpoint=lambda path, epoch: shutil.copy(path, kept))
    assert checkpoint.load(kept).run["precision"] == "bfloat16"


def test_a_run_keeps_its_number_of_threads_on_workers_that_have_others(tmp_path: Path) -> None:
    data, own = small_dataset.build(tmp_path / "data", train=16), torch.get_num_threads()
    config = _config(epochs=3, image_size_px=64, batch_size=16)

    def fit_in(threads: int, name: str, resume_from: Path | None = None) -> Fitted:
        """Of a worker that has so many; the checkpoint of each epoch lies under its number."""
        torch.set_num_threads(threads)
        kept = tmp_path / f"{name}-kept"
        kept.mkdir()
        fitted = _fit(
            config, data, tmp_path / name, lambda _: None, lambda path, n: shutil.copy(path, kept / f"{n}"), resume_from
        )
        assert torch.get_num_threads() == threads
        return fitted

    try:
        whole, other = fit_in(2, "whole"), fit_in(1, "other")
        taken_up = fit_in(1, "second", tmp_path / "whole-kept/1")
        again = fit_in(4, "third", tmp_path / "second-kept/2")
    finally:
        torch.set_num_threads(own)
    assert not same_bits(whole, other)  # else this test says nothing
    assert same_bits(whole, taken_up)
    assert same_bits(whole, again)
    assert (whole.threads, other.threads, again.threads) == (2, 1, 2)
    assert again.device.endswith("2 threads")


def same_bits(one: Fitted, other: Fitted) -> bool:
    pairs = zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True)
    return all(torch.equal(mine, others) for mine, others in pairs)


def test_a_configuration_names_its_number_of_threads_and_a_checkpoint_of_before_has_none(tmp_path: Path) -> None:
    data, kept = small_dataset.build(tmp_path / "data"), tmp_path / "kept.pt"
    named = torch.get_num_threads() + 1
    fitted = _fit(
        _config(threads=named), data, tmp_path / "a", save_checkpoint=lambda path, epoch: shutil.copy(path, kept)
    )
    assert fitted.threads == named
    saved = checkpoint.load(kept)
    del saved.position["threads"]
    checkpoint.save(saved, kept)
    assert _fit(_config(), data, tmp_path / "b", resume_from=kept).threads == torch.get_num_threads()


def test_the_energy_of_a_resumed_run_is_that_of_all_its_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, kept = small_dataset.build(tmp_path / "data"), tmp_path / "kept.pt"

    def fit_with(counter: Counter, name: str, resume_from: Path | None = None) -> Energy | None:
        monkeypatch.setattr("ml.training.counters_of", lambda *of: [counter])
        return _fit(
            _config(epochs=3), data, tmp_path / name, save_checkpoint=keep_the_second, resume_from=resume_from
        ).energy

    def keep_the_second(path: Path, epoch: int) -> None:
        if epoch == 2:
            shutil.copy(path, kept)

    steps = itertools.count(100, 5)  # at the beginning, after each of three epochs, and at the end
    assert fit_with(Counter("processors", lambda: float(next(steps))), "a") == (20, ("processors",))
    assert fit_with(Counter("processors", itertools.count(7.0).__next__), "b", kept) == (10 + 2, ("processors",))
    assert fit_with(Counter("processors", lambda: None), "c", kept) is None


def test_another_seed_trains_other_weights(tmp_path: Path) -> None:
    data = small_dataset.build(tmp_path / "data")
    one, other = (_fit(_config(seed=seed), data, tmp_path / str(seed)).network.body.state_dict() for seed in (1, 2))
    assert not torch.equal(one["stem.0.weight"], other["stem.0.weight"])


def test_a_resumed_run_ends_with_the_same_bits_as_one_that_never_stopped(tmp_path: Path) -> None:
    data = small_dataset.build(tmp_path / "data", train=16)
    config = _config(epochs=4, schedule="one_cycle", augmentation={}, dropout=0.5)
    kept = tmp_path / "kept.pt"

    def stop_in_the_third_epoch(progress: Progress) -> None:
        if progress.epoch == 3 and progress.step == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        _fit(config, data, tmp_path / "a", stop_in_the_third_epoch, lambda path, epoch: shutil.copy(path, kept))
    whole, resumed = _fit(config, data, tmp_path / "b"), _fit(config, data, tmp_path / "c", resume_from=kept)
    pairs = zip(whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert [r.train_loss for r in whole.history] == [r.train_loss for r in resumed.history]


EVERYTHING = {
    "mixup": 0.4,
    "cutmix": 1.0,
    "weight_averaging": 0.9,
    "flip_at_test": True,
    "shift_at_test": True,
    "layer_decay": 0.7,
    "unfreeze_epochs": 1,
    "class_weighting": "sampler",
    "augmentation": {"random_erasing": 0.5},
}


@pytest.mark.parametrize("network", ["resnet18", "mobilenet_v3_small"])
def test_a_resumed_run_with_everything_on_ends_with_the_same_bits(tmp_path: Path, network: str) -> None:
    save_file(_donor(network), tmp_path / "donor.safetensors")
    data, kept = small_dataset.build(tmp_path / "data", train=12), tmp_path / "kept.pt"
    config = _config(network=network, epochs=4, initial_weights="file:donor.safetensors", **EVERYTHING)

    def keep_the_second(path: Path, epoch: int) -> None:
        if epoch == 2:
            shutil.copy(path, kept)

    whole = _fit(config, data, tmp_path / "a", save_checkpoint=keep_the_second, weights_dir=tmp_path)
    resumed = _fit(config, data, tmp_path / "b", resume_from=kept, weights_dir=tmp_path)
    pairs = zip(whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert [r.validation_loss for r in whole.history] == [r.validation_loss for r in resumed.history]


def test_a_run_goes_on_in_a_release_that_has_more_settings(tmp_path: Path) -> None:
    data, kept, config = small_dataset.build(tmp_path / "data"), tmp_path / "kept.pt", _config(epochs=1)
    _fit(config, data, tmp_path / "a", save_checkpoint=lambda path, epoch: shutil.copy(path, kept))
    saved = checkpoint.load(kept)
    del saved.run["config"]["shift_at_test"], saved.run["config"]["augmentation"]["shift_px"]
    checkpoint.save(saved, kept)
    assert len(_fit(config, data, tmp_path / "b", resume_from=kept).history) == 1
    saved.run["config"]["batch_size"] += 1
    checkpoint.save(saved, kept)
    with pytest.raises(BadConfig, match="made with another config"):
        _fit(config, data, tmp_path / "c", resume_from=kept)


def test_what_of_a_feature_extractor_is_to_learn_does_learn(tmp_path: Path) -> None:
    donor = _donor("mobilenet_v3_small")
    save_file(donor, tmp_path / "donor.safetensors")
    fields = {"network": "mobilenet_v3_small", "initial_weights": "file:donor.safetensors", "trainable_stages": 2}
    fitted = _fit(_config(**fields), small_dataset.build(tmp_path / "data"), tmp_path / "run", weights_dir=tmp_path)
    after = fitted.network.body.state_dict()
    moved = {int(name.split(".")[1]) for name in donor if name.startswith("f") and not after[name].equal(donor[name])}
    assert moved == set(range(4, 13))


def test_a_checkpoint_of_a_release_in_which_other_weights_learned_is_refused(tmp_path: Path) -> None:
    data, kept = small_dataset.build(tmp_path / "data"), tmp_path / "kept.pt"
    _fit(_config(), data, tmp_path / "a", save_checkpoint=lambda path, epoch: shutil.copy(path, kept))
    saved = checkpoint.load(kept)
    del saved.optimizer["param_groups"][-1]
    checkpoint.save(saved, kept)
    with pytest.raises(BadConfig, match="while other weights learned"):
        _fit(_config(), data, tmp_path / "b", resume_from=kept)


def test_a_resumed_run_of_the_fast_preset_ends_with_the_same_bits(tmp_path: Path) -> None:
    data, kept = small_dataset.build(tmp_path / "data", train=12), tmp_path / "kept.pt"
    fields = presets()["cnn-fast"].config.model_dump()
    config = TrainConfig.model_validate(fields | {"epochs": 3, "batch_size": 4, "device": "cpu"})

    def keep_the_first(path: Path, epoch: int) -> None:
        if epoch == 1:
            shutil.copy(path, kept)

    whole = _fit(config, data, tmp_path / "a", save_checkpoint=keep_the_first)
    resumed = _fit(config, data, tmp_path / "b", resume_from=kept)
    pairs = zip(whole.network.state_dict().values(), resumed.network.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_an_alternating_flip_shows_each_image_both_ways_in_two_epochs(tmp_path: Path) -> None:
    images_NCHW = np.random.default_rng(0).integers(0, 256, (9, 3, 4, 4), np.uint8)
    cached = Cached(images_NCHW, np.arange(9))
    config = _config(augmentation=STILL | {"alternating_flip": True}, batch_size=3)
    pictures = Pictures(config, cached, cached, torch.device("cpu"))
    seen: list[dict[int, np.ndarray]] = []
    for epoch in (1, 2, 3):
        batches = pictures.training(epoch, torch.Generator().manual_seed(epoch))
        pairs = ((label, image) for images, labels in batches for label, image in zip(labels, images, strict=True))
        seen.append({int(label): image.numpy() for label, image in pairs})
    for label in range(9):
        assert np.array_equal(seen[0][label], seen[1][label][:, :, ::-1])
        assert np.array_equal(seen[0][label], seen[2][label])
    assert 0 < sum(np.array_equal(seen[0][label], images_NCHW[label]) for label in range(9)) < 9


def test_the_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    data = small_dataset.build(tmp_path / "data")
    kept = tmp_path / "kept.pt"
    _fit(_config(), data, tmp_path / "a", save_checkpoint=lambda path, epoch: shutil.copy(path, kept))
    with pytest.raises(BadConfig, match="another config"):
        _fit(_config(learning_rate=0.5), data, tmp_path / "b", resume_from=kept)


def test_an_epoch_is_reported_after_its_checkpoint_is_kept(tmp_path: Path) -> None:
    events: list[str] = []

    def note(progress: Progress) -> None:
        events.append(f"epoch {progress.epoch}" if progress.epoch_result else f"step {progress.step}/{progress.steps}")

    data = small_dataset.build(tmp_path / "data")
    _fit(_config(), data, tmp_path / "run", note, lambda path, epoch: events.append(f"kept {epoch}"))
    steps = ["step 1/2", "step 2/2", "step 2/2"]  # and once more by validation, of one batch
    trained = [event for event in events if event != "step 0/0"]  # of the preparation
    assert trained == [*steps, "kept 1", "epoch 1", *steps, "kept 2", "epoch 2"]


def test_a_run_can_be_stopped_within_its_validation(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []

    def stop_after_the_second_batch(progress: Progress) -> None:
        heard.append((progress.epoch, progress.step))
        if heard.count((1, 2)) == 3:  # the last step of training, and two batches of validation
            raise Cancelled

    data = small_dataset.build(tmp_path / "data", validation=40)
    with pytest.raises(Cancelled):
        _fit(_config(), data, tmp_path / "run", stop_after_the_second_batch)
    assert heard == sorted(heard)
    assert heard[-4:] == [(1, 1), (1, 2), (1, 2), (1, 2)]


def test_the_finished_network_is_that_of_the_best_epoch(tmp_path: Path) -> None:
    data = small_dataset.build(tmp_path / "data", validation=16)
    kept = {}

    def keep(path: Path, epoch: int) -> None:
        kept[epoch] = checkpoint.load(path).model

    fitted = _fit(_config(epochs=6, learning_rate=0.05), data, tmp_path / "run", save_checkpoint=keep)
    assert fitted.best_epoch == best_epoch(fitted.history, 16)
    best = fitted.network.body.state_dict()
    assert all(torch.equal(best[name], value) for name, value in kept[fitted.best_epoch].items())


def test_early_stopping_ends_a_run_that_no_longer_gains(tmp_path: Path) -> None:
    data = small_dataset.build(tmp_path / "data")
    fitted = _fit(_config(epochs=50, learning_rate=1e-9, early_stopping_epochs=2), data, tmp_path / "run")
    assert last_gain(fitted.history) + 2 == len(fitted.history) < 50


def test_a_loss_that_is_no_number_tells_to_lower_the_learning_rate(tmp_path: Path) -> None:
    data = small_dataset.build(tmp_path / "data")
    with pytest.raises(BadConfig, match="Lower the learning rate of 10"):
        _fit(_config(optimizer="sgd", learning_rate=10, warmup_epochs=0, epochs=30), data, tmp_path / "run")


def test_more_than_two_classes_are_judged_by_accuracy(tmp_path: Path) -> None:
    data = small_dataset.build(tmp_path / "data", train=9, validation=6, classes=("a", "b", "c"))
    fitted = _fit(_config(), data, tmp_path / "run")
    assert fitted.history[0].validation_auc is None
    assert 0 <= fitted.history[0].validation_accuracy <= 1


def test_a_data_set_without_validation_images_is_refused(tmp_path: Path) -> None:
    data = small_dataset.build(tmp_path / "data", validation=0)
    with pytest.raises(BadConfig, match="no images in the split 'validation'"):
        _fit(_config(), data, tmp_path / "run")


def test_missing_weights_stop_the_run_before_it_begins(tmp_path: Path) -> None:
    data = small_dataset.build(tmp_path / "data")
    with pytest.raises(MissingWeights, match=r"mine\.pth"):
        _fit(_config(initial_weights="file:mine.pth"), data, tmp_path / "run")


@pytest.mark.parametrize(
    "fields",
    [
        {"optimizer": "sgd", "schedule": "step"},
        {"precision": "bfloat16"},
        {"class_weighting": "balanced"},
        {"network": "resnet18", "trainable_stages": 0},
        {"label_smoothing": 0.1, "augmentation": {"vertical_flip": True}},
        {"augmentation": {"random_erasing": 0.5}, "mixup": 0.2, "cutmix": 1.0, "class_weighting": "sampler"},
        {"weight_averaging": 0.9, "flip_at_test": True, "layer_decay": 0.7},
    ],
)
def test_each_choice_of_the_configuration_trains(tmp_path: Path, fields: dict[str, object]) -> None:
    data = small_dataset.build(tmp_path / "data")
    assert len(_fit(_config(**fields), data, tmp_path / "run").history) == 2
