"""Initial weights: found, fitted, or refused by name."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ml import networks, weights
from ml.config import TrainConfig
from ml.errors import Cancelled, MissingWeights
from ml.networks import Network
from tests.ml.file_server import serving


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must never be printed",)


@pytest.fixture(autouse=True)
def _no_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for variable in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")


def _config(initial_weights: str, network: str = "cnn") -> TrainConfig:
    return TrainConfig.model_validate({"network": network, "initial_weights": initial_weights, "image_size_px": 32})


def _network(config: TrainConfig, classes: int = 2, seed: int = 0) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return networks.build(config, classes)


def _are_equal(one: Network, other: Network) -> dict[str, bool]:
    theirs = other.body.state_dict()
    return {name: torch.equal(value, theirs[name]) for name, value in one.body.state_dict().items()}


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_file_of_weights_is_placed_whole(tmp_path: Path, name: str) -> None:
    config = _config(f"file:{name}")
    donor, taker = _network(config, seed=1), _network(config, seed=2)
    (torch.save if name.endswith("pth") else save_file)(donor.body.state_dict(), tmp_path / name)
    weights.load_initial(taker, config, weights_dir=tmp_path)
    assert all(_are_equal(donor, taker).values())


def test_the_last_layer_of_other_classes_stays_random_and_the_rest_is_placed(tmp_path: Path) -> None:
    config = _config("file:ten.safetensors")
    donor, taker, before = _network(config, 10, seed=1), _network(config, seed=2), _network(config, seed=2)
    save_file(donor.body.state_dict(), tmp_path / "ten.safetensors")
    weights.load_initial(taker, config, weights_dir=tmp_path)
    assert torch.equal(taker.body.get_parameter("head.weight"), before.body.get_parameter("head.weight"))
    stem = "stem.0.weight"
    assert torch.equal(taker.body.get_parameter(stem), donor.body.get_parameter(stem))


@pytest.mark.parametrize("network", ["resnet18", "mobilenet_v3_small"])
def test_imagenet_weights_are_taken_from_the_weights_folder(tmp_path: Path, network: str) -> None:
    config = _config("imagenet", network)
    published = _network(config, classes=1000, seed=1).body.state_dict()
    url = networks.REGISTRY[network].imagenet_url
    torch.save(published, tmp_path / url.rsplit("/", 1)[1])
    taker = _network(config)
    weights.load_initial(taker, config, weights_dir=tmp_path)
    first = next(iter(published))
    assert torch.equal(taker.body.state_dict()[first], published[first])


def test_missing_imagenet_weights_are_an_error_that_names_file_and_place(tmp_path: Path) -> None:
    config = _config("imagenet", "resnet18")
    with pytest.raises(MissingWeights, match=r"'resnet18-f37072fd.pth' are not on this machine.*put it into") as caught:
        weights.load_initial(_network(config), config, weights_dir=tmp_path)
    assert str(tmp_path) in str(caught.value)


def _download(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sha256: str | None = None,
    missing_bytes: int = 0,
    tick: Callable[[], None] = lambda: None,
) -> tuple[Network, dict[str, torch.Tensor]]:
    """The network after its weights were asked for where they have to be downloaded, and the published weights."""
    config = _config("imagenet", "resnet18")
    published = _network(config, seed=1).body.state_dict()
    save_file(published, path)
    content = path.read_bytes()
    sha256 = sha256 or hashlib.sha256(content).hexdigest()
    taker = _network(config)
    with serving(content, missing_bytes) as address:
        changed = replace(networks.REGISTRY["resnet18"], imagenet_url=f"{address}/resnet18-{sha256[:8]}.pth")
        monkeypatch.setitem(networks.REGISTRY, "resnet18", changed)
        weights.load_initial(taker, config, tick=tick)
    return taker, published


def _kept(folder: Path) -> list[str]:
    """What lies in torch's own cache, with everything left behind there."""
    return [path.name[:9] for path in (folder / "torch").rglob("*") if path.name not in ("hub", "checkpoints")]


def test_imagenet_weights_are_downloaded_into_torchs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taker, published = _download(tmp_path / "published", monkeypatch)
    assert all(torch.equal(value, published[name]) for name, value in taker.body.state_dict().items())
    assert _kept(tmp_path) == ["resnet18-"]


@pytest.mark.parametrize("flaw", [{"sha256": "0" * 64}, {"missing_bytes": 5}])
def test_a_damaged_download_is_refused_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flaw: dict[str, object]
) -> None:
    with pytest.raises(MissingWeights, match="could not be fetched"):
        _download(tmp_path / "published", monkeypatch, **flaw)  # type: ignore[arg-type]
    assert _kept(tmp_path) == []


def test_a_download_that_is_stopped_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        _download(tmp_path / "published", monkeypatch, tick=stop)
    assert _kept(tmp_path) == []


@pytest.mark.parametrize("name", ["absent.pth", ".."])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    config = _config(f"file:{name}")
    with pytest.raises(MissingWeights, match=f"'{name}' is missing"):
        weights.load_initial(_network(config), config, weights_dir=tmp_path)


def test_without_a_weights_folder_the_setting_is_named() -> None:
    config = _config("file:mine.pth")
    with pytest.raises(MissingWeights, match="APP_WEIGHTS_DIR"):
        weights.load_initial(_network(config), config)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file(_network(_config("none", "resnet18")).body.state_dict(), tmp_path / "resnet.safetensors")
    config = _config("file:resnet.safetensors")
    with pytest.raises(MissingWeights, match="do not fit the network"):
        weights.load_initial(_network(config), config, weights_dir=tmp_path)


@pytest.mark.parametrize("name", ["bomb.pth", "bomb.safetensors"])
def test_a_file_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    torch.save({"head.weight": _Bomb()}, tmp_path / name)
    with pytest.raises(MissingWeights, match="more than tensors"):
        weights.read_state_dict(tmp_path / name)
    assert capsys.readouterr().out == ""


def test_a_whole_pickled_model_is_refused(tmp_path: Path) -> None:
    torch.save(_network(_config("none")), tmp_path / "model.pth")
    with pytest.raises(MissingWeights, match="more than tensors"):
        weights.read_state_dict(tmp_path / "model.pth")


def test_a_model_version_is_asked_for_by_its_number(tmp_path: Path) -> None:
    config = _config("version:7")
    donor, taker = _network(config, seed=1), _network(config, seed=2)
    save_file(donor.body.state_dict(), tmp_path / "7.safetensors")
    weights.load_initial(taker, config, resolve_version=lambda number: tmp_path / f"{number}.safetensors")
    assert all(_are_equal(donor, taker).values())
