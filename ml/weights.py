"""Initial weights: found, checked and put in place, or a clear error. Never random ones instead."""

import hashlib
import logging
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import requests
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ml import tensorfile
from ml.config import TrainConfig
from ml.errors import MissingWeights
from ml.networks import REGISTRY, Network
from ml.tensorfile import UnreadableTensors

_log = logging.getLogger(__name__)
_BLOCK_BYTES = 1 << 20
_TIMEOUT_S = (5, 60)  # to connect, between two reads


def load_initial(
    network: Network,
    config: TrainConfig,
    resolve_version: Callable[[int], Path] | None = None,
    weights_dir: Path | None = None,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Puts the weights that `config.initial_weights` names into the network; raises MissingWeights, MissingPackage.

    A last layer made for another number of classes keeps its random values; any other difference is an error.
    `tick` is called all along a download and may raise to stop it.
    """
    kind, _, name = config.initial_weights.partition(":")
    if kind == "none":
        return
    packaged = REGISTRY[config.network].imagenet_file
    if kind == "imagenet" and packaged is not None:
        state = _renamed(read_state_dict(packaged()), network)
    elif kind == "imagenet":
        state = read_state_dict(_imagenet_file(config.network, weights_dir, tick))
    elif kind == "version":
        state = read_state_dict(_version_file(int(name), resolve_version))
    else:
        state = read_state_dict(_named_file(name, weights_dir))
    _place(network, state, config.initial_weights)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a safetensors or a torch file, whatever its name; one that would run code is refused."""
    try:
        content = load_file(path) if _is_safetensors(path) else tensorfile.read(path)
    except (UnreadableTensors, SafetensorError, OSError) as error:
        raise MissingWeights(
            f"The weights file '{path.name}' cannot be read: it is damaged or holds more than tensors. "
            "Save the weights alone, as .safetensors or with torch.save(model.state_dict())."
        ) from error
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise MissingWeights(f"The weights file '{path.name}' is not a state_dict: a mapping from names to tensors.")
    return dict(content)


def _is_safetensors(path: Path) -> bool:
    """The format begins with the length of its header in eight bytes, then the header, a JSON object."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _renamed(state: dict[str, Tensor], network: Network) -> dict[str, Tensor]:
    """The tensors under the names of the body, in order; that each fits its new name, `_place` checks."""
    return dict(zip(network.body.state_dict(), state.values(), strict=True))


def _place(network: Network, state: dict[str, Tensor], origin: str) -> None:
    expected = network.body.state_dict()
    head = [name for name in expected if name.startswith(network.head + ".")]
    if any(name in state and state[name].shape != expected[name].shape for name in head):
        _log.info("last layer left as initialised: '%s' has another number of classes", origin)
        state = {**state, **{name: expected[name] for name in head}}
    differing = [name for name in expected.keys() | state.keys() if _shape(state, name) != _shape(expected, name)]
    # Files written before batch norm counted its batches lack this counter, which nothing here reads.
    differing = sorted(name for name in differing if not name.endswith("num_batches_tracked"))
    if differing:
        raise MissingWeights(
            f"The weights '{origin}' do not fit the network: {len(differing)} tensors differ, first '{differing[0]}'. "
            "Choose weights of the same network and settings."
        )
    network.body.load_state_dict(state, strict=False)


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state else None


def _version_file(number: int, resolve_version: Callable[[int], Path] | None) -> Path:
    if resolve_version is None:
        raise MissingWeights(f"Model version {number} cannot be found from here; name a file of weights instead.")
    return resolve_version(number)


def _named_file(name: str, weights_dir: Path | None) -> Path:
    if weights_dir is None or not (weights_dir / name).is_file():
        raise MissingWeights(f"The weights file '{name}' is missing. Put it into {_place_for(weights_dir)}.")
    return weights_dir / name


def _imagenet_file(network: str, weights_dir: Path | None, tick: Callable[[], None]) -> Path:
    """Where the published file lies: the weights folder, torch's own cache, or there after a download."""
    url = REGISTRY[network].imagenet_url
    name = url.rsplit("/", 1)[1]
    cache_dir = Path(torch.hub.get_dir()) / "checkpoints"
    for folder in filter(None, (weights_dir, cache_dir)):
        if (folder / name).is_file():
            return folder / name
    try:
        return _download(url, cache_dir / name, tick)
    except (requests.RequestException, OSError) as error:
        raise MissingWeights(
            f"The ImageNet weights '{name}' are not on this machine and {url} could not be fetched "
            f"({type(error).__name__}). Download the file elsewhere and put it into {_place_for(weights_dir)}."
        ) from error


def _place_for(weights_dir: Path | None) -> str:
    return f"'{weights_dir}'" if weights_dir else "a folder, and set APP_WEIGHTS_DIR to it"


def _download(url: str, path: Path, tick: Callable[[], None]) -> Path:
    """The file at `path`, complete or not there; its name carries the start of its SHA-256, as torch's files do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        partial = Path(folder) / path.name
        with requests.get(url, stream=True, timeout=_TIMEOUT_S) as response, partial.open("wb") as file:
            response.raise_for_status()
            for block in response.iter_content(_BLOCK_BYTES):
                digest.update(block)
                file.write(block)
                tick()
        expected = re.search(r"-([0-9a-f]{8})\.", path.name)
        if expected and not digest.hexdigest().startswith(expected[1]):
            raise OSError("its SHA-256 is wrong")
        return partial.replace(path)
