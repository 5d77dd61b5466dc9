"""The command line, from an archive to a prediction."""

import json
import shutil
from pathlib import Path

import pytest

from ml.__main__ import main
from ml.artifact import Card
from ml.ingest import MANIFEST_NAME
from ml.manifest import Manifest

TINY = ["--set", "epochs=2", "--set", "image_size_px=32", "--set", "device=cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which an archive was drawn, ingested and trained on."""
    folder = tmp_path_factory.mktemp("commands")
    archive, data, run = (str(folder / name) for name in ("archive.zip", "data", "run"))
    assert main(["synthetic", archive, "--images-per-class", "20", "--size-px", "32"]) == 0
    assert main(["ingest", archive, "--out", data, "--options", json.dumps({"seed": 4})]) == 0
    assert main(["train", data, "--out", run, *TINY]) == 0
    return folder


def test_a_run_leaves_a_whole_version_and_its_checkpoint(trained: Path) -> None:
    card = Card.read(trained / "run")
    card.verify(trained / "run")
    assert (card.epochs_run, card.config.image_size_px) == (2, 32)
    assert card.metrics is not None
    assert (trained / "run" / "checkpoint.pt").is_file()


def test_the_data_set_holds_every_image(trained: Path) -> None:
    assert len(Manifest.read(trained / "data" / MANIFEST_NAME).rows) == 40


@pytest.mark.slow
def test_find_rate_suggests_a_setting(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["find-rate", str(trained / "data"), *TINY]) == 0
    assert "suggested: --set learning_rate=" in capsys.readouterr().out


def test_evaluate_prints_scores_with_intervals(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", str(trained / "run"), str(trained / "data"), "--split", "validation", "--robustness"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert " accuracy " in printed
    assert "  jpeg       10.0    accuracy 0." in printed or "  jpeg       10.0    accuracy 1." in printed


def test_predict_names_a_class_for_each_image(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.unpack_archive(trained / "archive.zip", trained / "images")
    files = sorted(str(path) for path in (trained / "images").rglob("*.png"))[:3]
    assert main(["predict", str(trained / "run"), *files]) == 0
    assert capsys.readouterr().out.count("benign 0.") == 3


def test_export_makes_everything_but_the_weights_again(trained: Path) -> None:
    run, made = trained / "exported", Card.read(trained / "run")
    shutil.copytree(trained / "run", run)
    for path in (run / "model.onnx", *run.glob("*.npz")):
        path.unlink()
    (run / "domain.npz").write_bytes(b"a guard, for which these images are too few")
    made.model_copy(update={"metrics": None, "operating_point": None}).write(run)
    assert main(["export", str(run), str(trained / "data")]) == 0
    again = Card.read(run)
    again.verify(run)
    assert (again.metrics, again.operating_point) == (made.metrics, made.operating_point)
    assert again.files.keys() == made.files.keys() >= {"embeddings.npz"}
    assert not (run / "domain.npz").exists()


def test_export_refuses_data_that_the_run_has_not_seen(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive, other = str(trained / "archive.zip"), str(trained / "other")
    assert main(["ingest", archive, "--out", other, "--options", json.dumps({"seed": 5})]) == 0
    assert main(["export", str(trained / "run"), other]) == 1
    assert "can be renewed from its own data only" in capsys.readouterr().err


def test_a_finished_run_resumed_is_the_same_run(trained: Path) -> None:
    run = trained / "resumed"
    run.mkdir()
    shutil.copy(trained / "run" / "checkpoint.pt", run)
    assert main(["train", str(trained / "data"), "--out", str(run), "--resume", *TINY]) == 0
    weights = "state_dict.safetensors"
    assert Card.read(run).files[weights] == Card.read(trained / "run").files[weights]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["train", "nowhere", "--out", "run"], "not a data set"),
        (["train", "data", "--out", "run", "--config", "{"], "--config is not JSON"),
        (["train", "data", "--out", "run", "--set", "epochs=0"], "epochs: "),
        (["train", "data", "--out", "run", "--set", "augmentation.crop_scale=7"], "augmentation.crop_scale: "),
        (["predict", "nowhere", "x.png"], "card.json"),
        (["ingest", "absent.zip", "--out", "data2"], "absent.zip"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_1(
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(trained)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert complaint in error
