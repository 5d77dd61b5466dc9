"""The files of a finished version, and the proof that they compute what was trained."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file

from ml import export, networks, training
from ml.config import TrainConfig
from ml.errors import Cancelled, ParityError
from ml.explain import Head, Seen
from ml.images import InputSpec
from ml.onnx_runtime import onnxruntime
from tests.ml import small_dataset

SPEC = InputSpec(size_px=64)


def _images(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 3, 64, 64), dtype=np.uint8)


def _trained(folder: Path, **fields: object) -> networks.Network:
    """A network whose batch norm has seen data: fresh statistics would hide a graph that ignores them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = networks.build(TrainConfig.model_validate({"image_size_px": 64, **fields}), 2)
        network.train()
        for _ in range(5):
            network(torch.from_numpy(_images(16)))
    export.write_files(network.eval(), SPEC, folder)
    return network


SLOW = {"efficientnet_lite0", "mobilenet_v3_large"}  # torch takes most of a minute to write their graphs
CASES = [
    pytest.param({"network": name}, id=name, marks=[pytest.mark.slow] * (name in SLOW)) for name in networks.REGISTRY
]


@pytest.fixture(
    scope="module",
    params=[
        *CASES,
        pytest.param({"network": "cnn", "flip_at_test": True, "shift_at_test": True}, id="cnn in six views"),
    ],
)
def each(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[networks.Network, Path]:
    folder = tmp_path_factory.mktemp("version")
    return _trained(folder, **request.param), folder


def test_onnx_equals_torch(each: tuple[networks.Network, Path]) -> None:
    network, folder = each
    parity = export.prove_parity(network, folder / "model.onnx", _images(7))
    assert parity.max_abs_difference < 1e-4
    assert parity.images == 7


def _grad_cam(network: networks.Network, last: str, label: int) -> np.ndarray:
    """Of three images, by torch's own gradient of the logit (Selvaraju et al. 2017); of mirror images turned back."""
    grids: list[torch.Tensor] = []
    with network.body.get_submodule(last).register_forward_hook(lambda module, given, grid: grids.append(grid)):
        logits_NK = network(torch.from_numpy(_images(3)))
    slopes = torch.autograd.grad(logits_NK[:, label].sum(), grids)
    maps = [(slope.mean((2, 3), keepdim=True) * grid).sum(1) for slope, grid in zip(slopes, grids, strict=True)]
    turned = [one.flip(2) if view.is_mirrored else one for view, one in zip(network.views, maps, strict=True)]
    return torch.stack(turned).sum(dim=0).detach().numpy()


def test_the_map_of_the_exported_graph_is_grad_cam(each: tuple[networks.Network, Path]) -> None:
    network, folder = each
    last = next(name for name in ("stages", "layer4", "features", "bn2") if hasattr(network.body, name))
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    given = [output.name for output in session.get_outputs()]
    found = dict(zip(given, session.run(None, {"images": _images(3)}), strict=True))
    seen = Seen(Head(**{name: found[name] for name in given[3:]}), *(found[name] for name in given[:3]))
    for label in (0, 1):
        expected_NHW = _grad_cam(network, last, label)
        np.testing.assert_allclose(seen.maps(np.full(3, label)), expected_NHW, atol=1e-3 * np.abs(expected_NHW).max())


def test_what_explains_an_answer_makes_it_no_dearer(each: tuple[networks.Network, Path]) -> None:
    """ONNX Runtime computes the whole graph, whatever is asked for: so nothing but views may be there beside."""
    graph = onnx.load(each[1] / "model.onnx").graph
    maker = {name: node for node in graph.node for name in node.output}
    needed, waiting = set(), ["probabilities"]
    while waiting:
        node = maker.get(waiting.pop())
        if node and node.output[0] not in needed:
            needed.add(node.output[0])
            waiting += node.input
    beside = {node.op_type for node in graph.node if node.output[0] not in needed}
    assert beside <= {"Unsqueeze", "Concat", "Slice"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[networks.Network, Path]:
    folder = tmp_path_factory.mktemp("version")
    return _trained(folder, network="cnn"), folder


def test_the_graph_takes_bytes_in_any_number_and_gives_probabilities(exported: tuple[networks.Network, Path]) -> None:
    session = onnxruntime.InferenceSession(exported[1] / "model.onnx")
    taken = session.get_inputs()[0]
    assert (taken.name, taken.type, taken.shape) == ("images", "tensor(uint8)", ["N", 3, 64, 64])
    for n in (1, 5):
        probabilities_NK = session.run(["probabilities"], {"images": _images(n)})[0]
        assert probabilities_NK.shape == (n, 2)
        assert probabilities_NK.sum(axis=1) == pytest.approx(1)


def test_the_whole_model_loads_without_this_code_and_agrees(exported: tuple[networks.Network, Path]) -> None:
    network, folder = exported
    whole = torch.export.load(folder / "model.pt2").module()
    images_NCHW = torch.from_numpy(_images(3))
    assert torch.allclose(whole(images_NCHW), network(images_NCHW).softmax(dim=1), atol=1e-5)


def test_the_state_dict_fits_the_architecture_by_its_plain_names(exported: tuple[networks.Network, Path]) -> None:
    network, folder = exported
    state = load_file(folder / "state_dict.safetensors")
    assert state.keys() == network.body.state_dict().keys()


def test_no_file_names_a_folder_of_this_machine(exported: tuple[networks.Network, Path]) -> None:
    here = str(Path(export.__file__).parent).encode()
    assert not [path.name for path in exported[1].iterdir() if here in path.read_bytes()]


def test_a_graph_of_other_weights_is_no_proof(exported: tuple[networks.Network, Path]) -> None:
    other = networks.build(TrainConfig(image_size_px=64, seed=5), 2).eval()
    with pytest.raises(ParityError, match="differ by up to"):
        export.prove_parity(other, exported[1] / "model.onnx", _images(3))


def test_the_proof_looks_at_images_from_everywhere_in_the_split(tmp_path: Path) -> None:
    manifest = small_dataset.build(tmp_path, validation=100).manifest
    rows = sorted(manifest.of_split("validation"), key=lambda row: row.label)
    chosen = export.proof_rows(manifest.model_copy(update={"rows": tuple(rows)}))
    assert len({row.path for row in chosen}) == 32
    assert (chosen[0], chosen[-1]) == (rows[0], rows[-1])
    assert Counter(row.label for row in chosen) == {"benign": 16, "malignant": 16}


def test_a_small_split_is_looked_at_whole(tmp_path: Path) -> None:
    manifest = small_dataset.build(tmp_path, validation=5).manifest
    assert export.proof_rows(manifest) == list(manifest.of_split("validation"))


def test_the_export_can_be_stopped_between_its_files(tmp_path: Path) -> None:
    def stop() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        export.write_files(networks.build(TrainConfig(image_size_px=32), 2).eval(), SPEC, tmp_path, stop)
    assert [path.name for path in tmp_path.iterdir()] == ["state_dict.safetensors"]


def test_the_card_says_what_was_trained_on_what(tmp_path: Path) -> None:
    data = small_dataset.build(tmp_path / "data")
    config = TrainConfig(image_size_px=32, epochs=1, seed=3, device="cpu")
    fitted = training.fit(config, data.manifest, data.packs, tmp_path, lambda progress: None, lambda path, epoch: None)
    ticks: list[int] = []
    card = export.export(
        fitted,
        config,
        data.manifest,
        data.packs,
        tmp_path / "version",
        "First",
        "Discs",
        tick=lambda: ticks.append(len(list((tmp_path / "version").iterdir()))),
    )
    assert ticks == [1, 2, 3]
    assert (card.name, card.network, card.seed, card.epochs_run, card.best_epoch) == ("First", "cnn", 3, 1, 1)
    assert card.classes == data.manifest.classes
    assert card.dataset.sha256 == data.manifest.content_sha256()
    assert set(card.files) == {"model.onnx", "model.pt2", "state_dict.safetensors"}
    assert card.parity.images == 4
    assert card.parity.max_abs_difference <= 1e-4
