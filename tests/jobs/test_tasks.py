"""The main job through a real worker: archive in, version out."""

import io
from pathlib import Path

import pytest
from flask import Flask

from ml import scored
from ml.config import TrainConfig
from ml.ingest_options import IngestOptions
from tests.jobs.processes import Processes, queue_experiment, upload, wait_for
from webapp.datasets import service as datasets
from webapp.datasets.service import store
from webapp.experiments import service as experiments
from webapp.models import FINAL_STATUSES, Dataset, User
from webapp.registry import evidence, reruns
from webapp.registry import service as registry


def is_over(row: object) -> bool:
    return getattr(row, "status", "") in (*FINAL_STATUSES, "ready", "rejected")


@pytest.mark.parametrize("settings", ["sqlite", "postgresql"], indirect=True)
def test_an_archive_becomes_a_version_with_metrics(processes: Processes, researcher: User, tmp_path: Path) -> None:
    processes.worker()
    dataset = wait_for(upload(researcher, tmp_path), is_over)
    assert (dataset.status, dataset.images, len(dataset.pack_sha256s)) == ("ready", 40, 1)
    assert [entry["name"] for entry in dataset.classes] == ["benign", "malignant"]

    experiment = wait_for(queue_experiment(researcher, dataset, epochs=3), is_over)
    assert (experiment.status, experiment.failed_because, experiment.attempts) == ("succeeded", None, 1)
    assert [epoch.number for epoch in experiment.epochs] == [1, 2, 3]
    version = experiment.version
    model = {"model.onnx", "model.int8.onnx", "state_dict.safetensors", "model.pt2", "card.json"}
    assert set(version.files) == {*model, "embeddings.npz", "self_test.npz", "self_test.int8.npz"}
    assert version.card["parity"]["max_abs_difference"] <= 1e-4
    assert len(version.card["reference"]["scores"]) == sum(entry["validation"] for entry in dataset.classes)
    tested = registry.test_evaluation(version)
    assert tested.metrics["n"] == sum(entry["test"] for entry in dataset.classes)
    assert tested.metrics["operating_point"]["chosen_on"] == "validation"

    again = registry.start_evaluation(version.id, dataset.id, "test", researcher, is_stressed=True)
    again = wait_for(again, is_over)
    assert again.metrics == tested.metrics
    assert again.predictions_sha256 == tested.predictions_sha256
    assert again.evidence_sha256 == tested.evidence_sha256
    assert tested.robustness is None
    assert again.robustness["outcomes"][0]["accuracy"] == tested.metrics["accuracy"]
    nearest = evidence.neighbours(tested, int(evidence.of(tested).number_N[0]))
    assert {one.row.split for one in nearest} == {"train"}
    with store().fetch(tested.predictions_sha256) as path:
        said = [scored.find(path, number) for number in range(dataset.images)]
    assert sum(answer is not None for answer in said) == tested.metrics["n"]


@pytest.mark.slow
def test_an_experiment_that_is_run_again_gives_the_same_weights_and_scores(
    processes: Processes, researcher: User, dataset: Dataset
) -> None:
    processes.warm_worker()
    first = wait_for(queue_experiment(researcher, dataset, epochs=3, dropout=0.3, device="cpu"), is_over)
    assert first.failed_because is None
    again = wait_for(experiments.run_again(first, researcher), is_over)
    found = reruns.of(again.version)
    assert found is not None
    assert (found.first, found.has_same_weights, found.has_same_metrics) == (first.version, True, True)
    assert found.differences == []
    scores = [[(epoch.train_loss, epoch.validation_auc) for epoch in run.epochs] for run in (first, again)]
    assert scores[0] == scores[1]
    other = wait_for(queue_experiment(researcher, dataset, epochs=3, dropout=0.3, device="cpu", seed=1), is_over)
    weights = {run.version.files["state_dict.safetensors"] for run in (first, other)}
    assert len(weights) == 2  # equal weights are no accident


@pytest.mark.slow
def test_a_version_can_start_another_training(processes: Processes, researcher: User, tmp_path: Path) -> None:
    processes.worker()
    dataset = wait_for(upload(researcher, tmp_path), is_over)
    first = wait_for(queue_experiment(researcher, dataset, epochs=1), is_over)
    config = TrainConfig(epochs=1, image_size_px=32, initial_weights=f"version:{first.version.id}")
    second = wait_for(experiments.create(dataset.id, "Second", config, researcher), is_over)
    assert second.failed_because is None


def test_an_archive_without_images_is_rejected_with_the_reason(processes: Processes, researcher: User) -> None:
    import zipfile

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("benign/notes.txt", "no image")
    archive.seek(0)
    processes.worker()
    dataset = wait_for(datasets.create_from_archive(archive, "Empty", IngestOptions(), researcher), is_over)
    assert dataset.status == "rejected"
    assert "image" in dataset.rejected_because


def test_missing_imagenet_weights_fail_the_experiment_and_name_the_file(
    context: Flask, processes: Processes, researcher: User, tmp_path: Path
) -> None:
    processes.environment |= {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    processes.environment["TORCH_HOME"] = str(tmp_path)
    processes.worker()
    dataset = wait_for(upload(researcher, tmp_path), is_over)
    wanted = queue_experiment(researcher, dataset, epochs=1, network="mobilenet_v3_small", initial_weights="imagenet")
    experiment = wait_for(wanted, is_over)
    assert experiment.status == "failed"
    assert "mobilenet_v3_small-047dcff4.pth" in experiment.failed_because
