"""A trained network as files that need none of this code, and the proof that they compute the same."""

import logging
import platform
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from ml import efficientnet, explain, networks, sanity
from ml.artifact import FILES, Card, Parity, TrainedOn, file_sha256
from ml.code_version import code_version
from ml.config import Split, TrainConfig
from ml.errors import ParityError
from ml.images import InputSpec, to_input
from ml.manifest import ImageRow, Manifest
from ml.networks import Network, count_parameters
from ml.onnx_runtime import onnxruntime
from ml.pack import PackReader
from ml.served import Explained, Served
from ml.training import Fitted

logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # its passes mention that the weights of the head are outputs, too
PARITY_TOLERANCE = 1e-4
_PARITY_IMAGES = 32
_PACKAGES = ("torch", "torchvision", "onnx", "numpy", "pillow")


def export(
    fitted: Fitted,
    config: TrainConfig,
    manifest: Manifest,
    packs: PackReader,
    folder: Path,
    name: str,
    dataset_name: str,
    dataset_sha256: str | None = None,
    dataset_number: int | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Card:
    """Card of the version whose files now lie in `folder`, proven equal to the network; scores are still missing.

    The card is not written yet: whoever has the scores writes it. `tick` is called between the files and before the
    proof, and may raise to stop. Raises ParityError.
    """
    spec = InputSpec(size_px=config.image_size_px)
    network = fitted.network.cpu().float().eval()
    write_files(network, spec, folder, tick)
    proof_NCHW = _proof_images(manifest, packs, spec)
    parity = prove_parity(network, folder / "model.onnx", proof_NCHW)
    counts: dict[Split, int] = {split: len(manifest.of_split(split)) for split in get_args(Split)}
    return Card(
        name=name,
        network=config.network,
        classes=manifest.classes,
        positive_class=manifest.positive_class,
        input=spec,
        config=config,
        dataset=TrainedOn(
            name=dataset_name,
            number=dataset_number,
            sha256=dataset_sha256 or manifest.content_sha256(),
            images=counts,
        ),
        parity=parity,
        maps=sanity.check(network, config.network, proof_NCHW),
        parameters=count_parameters(network),
        seed=config.seed,
        epochs_run=len(fitted.history),
        best_epoch=fitted.best_epoch,
        device=fitted.device,
        precision=fitted.precision,
        compiled_epochs=fitted.compiled_epochs,
        threads=fitted.threads,
        wall_s=fitted.wall_s,
        **({"energy_j": fitted.energy.joules, "energy_of": fitted.energy.parts} if fitted.energy else {}),
        code=code_version(),
        packages=_packages(),
        created_at=datetime.now(UTC),
        files=_hashes(folder),
    )


def export_again(folder: Path, manifest: Manifest, packs: PackReader) -> Card:
    """Card of the version in `folder`, whose model files are written anew from its state_dict, and proven again."""
    card = Card.read(folder)
    network = networks.build(card.config, len(card.classes)).eval()
    network.body.load_state_dict(load_file(folder / "state_dict.safetensors"))
    write_files(network, card.input, folder)
    proof_NCHW = _proof_images(manifest, packs, card.input)
    parity = prove_parity(network, folder / "model.onnx", proof_NCHW)
    maps = sanity.check(network, card.network, proof_NCHW)
    files = {**card.files, **_hashes(folder)}  # what was made of the same weights beside them stays
    return card.model_copy(update={"parity": parity, "maps": maps, "packages": _packages(), "files": files})


def _packages() -> dict[str, str]:
    optional = [package for package in efficientnet.PACKAGES if efficientnet.is_installed(package)]
    runtimes = {"onnxruntime": onnxruntime.__version__, "python": platform.python_version()}
    return {package: version(package) for package in (*_PACKAGES, *optional)} | runtimes


def _hashes(folder: Path) -> dict[str, str]:
    return {name: file_sha256(folder / name) for name in FILES}


def write_files(network: Network, spec: InputSpec, folder: Path, tick: Callable[[], None] = lambda: None) -> None:
    """state_dict.safetensors (names of the plain architecture), model.pt2 and model.onnx, both for any batch size.

    model.onnx also gives what explains an answer, to who asks for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.contiguous() for name, tensor in network.body.state_dict().items()}
    save_file(state, folder / "state_dict.safetensors")
    tick()
    torch.export.save(_program(Served(network).eval(), spec), folder / "model.pt2")
    tick()
    with warnings.catch_warnings():
        # torch's own exporter still builds tree specifications in a way that torch deprecates.
        warnings.filterwarnings("ignore", r".*treespec.* is deprecated", FutureWarning)
        torch.onnx.export(
            _program(Explained(network).eval(), spec),
            (),
            folder / "model.onnx",
            input_names=["images"],
            output_names=["probabilities", *explain.OF_IMAGES, *network.halves.weights(network.body)],
            dynamic_shapes={"images": {0: "N"}},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    tick()


def _program(served: Served, spec: InputSpec) -> torch.export.ExportedProgram:
    # Two images: torch would keep a batch of one as a constant.
    example_NCHW = torch.zeros(2, spec.channels, spec.size_px, spec.size_px, dtype=torch.uint8)
    program = torch.export.export(served, (example_NCHW,), dynamic_shapes={"images": {0: torch.export.Dim("N", min=1)}})
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names folders of the machine that trained
    return program


def prove_parity(network: Network, model_path: Path, images_NCHW: NDArray[np.uint8]) -> Parity:
    """The largest difference of any probability between torch and ONNX Runtime; raises ParityError above 1e-4."""
    session = onnxruntime.InferenceSession(model_path, providers=["CPUExecutionProvider"])
    served_NK = session.run(["probabilities"], {"images": images_NCHW})[0]
    with torch.inference_mode():
        trained_NK = Served(network).eval()(torch.from_numpy(images_NCHW)).numpy()
    difference = float(np.abs(served_NK - trained_NK).max())
    if not difference <= PARITY_TOLERANCE:
        raise ParityError(
            f"The exported model's probabilities differ by up to {difference:.2g} from the trained network's; at most "
            f"{PARITY_TOLERANCE:g} is accepted. Train again, with precision 'float32' if the loss was unsteady."
        )
    return Parity(max_abs_difference=difference, images=len(images_NCHW), tolerance=PARITY_TOLERANCE)


def proof_rows(manifest: Manifest) -> Sequence[ImageRow]:
    """At most 32 images of 'validation', spread evenly over it: neighbours are often of one class."""
    rows = manifest.of_split("validation")
    places = np.linspace(0, len(rows) - 1, min(len(rows), _PARITY_IMAGES)).round().astype(int)
    return [rows[place] for place in places]


def _proof_images(manifest: Manifest, packs: PackReader, spec: InputSpec) -> NDArray[np.uint8]:
    return np.stack([to_input(packs.read(row.pack, row.member), spec) for row in proof_rows(manifest)])
