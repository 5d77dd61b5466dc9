"""The artifact: a folder that is all there is to know of a finished version.

model.onnx serves, or model.int8.onnx where the version has it; state_dict.safetensors and model.pt2 (torch.export) go
on to other programs; card.json says what they are.
"""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field, ValidationError

from ml.abstention import Abstention
from ml.code_version import CodeVersion
from ml.config import Frozen, Split, TrainConfig, Variant
from ml.conformal import ConformalRule
from ml.domain import DomainRule
from ml.drift import Reference
from ml.errors import BadArtifact
from ml.explain import MapChecks
from ml.folding import Member
from ml.images import InputSpec
from ml.metrics import Metrics, OperatingPoint
from ml.temperature import Temperature
from ml.variants import Variants

FILES = ("model.onnx", "model.pt2", "state_dict.safetensors")
MODEL_FILES: dict[Variant, str] = {"float32": "model.onnx", "int8": "model.int8.onnx"}
CARD_NAME = "card.json"


class TrainedOn(Frozen):
    """The data set of a run, by name and by content."""

    name: str
    number: int | None = None  # of the version in its line; None for a data set without versions
    sha256: str  # Manifest.content_sha256
    images: dict[Split, int]


class Parity(Frozen):
    """Proof that the ONNX graph computes what the trained network computes."""

    max_abs_difference: float  # of probabilities
    images: int
    tolerance: float


class Card(Frozen):
    """What a version is, where it comes from and how good it is."""

    format: Literal["card/1"] = "card/1"
    name: str
    network: str
    classes: tuple[str, ...]  # in the order of the columns of probabilities_NK
    positive_class: str | None
    input: InputSpec
    config: TrainConfig
    dataset: TrainedOn
    operating_point: OperatingPoint | None = None
    temperature: Temperature | None = None  # reported; what is served is not divided by it
    conformal: tuple[ConformalRule, ...] = ()
    abstention: Abstention | None = None  # None where every image of the domain is decided
    metrics: Metrics | None = None  # of the split 'test'
    validation_metrics: Metrics | None = None
    reference: Reference | None = None  # what the answers on 'validation' were: what later ones are compared with
    parity: Parity
    domain: DomainRule | None = None  # None without a guard
    maps: MapChecks | None = None  # None on a card of a release without maps
    parameters: int
    seed: int
    epochs_run: int
    best_epoch: int
    device: str
    precision: str | None = None  # of the forward pass; None on a card of a release that did not note it
    compiled_epochs: int = 0
    threads: int | None = None  # of the processor; None on a GPU, and on a card of a release that did not note them
    wall_s: float
    energy_j: float | None = None  # of all attempts; None where one could not read it
    energy_of: tuple[str, ...] = ("processors",)  # what was counted; releases before counted nothing else
    code: CodeVersion | None = None  # None on a card of a release that did not note it
    packages: dict[str, str]  # name -> version
    created_at: AwareDatetime
    files: dict[str, str] = Field(default_factory=dict)  # name -> sha256
    variants: Variants | None = None  # None where model.onnx is the only one
    study: Member | None = None  # of folds: the splits, and so the hash of the data set, are those of its fold

    def write(self, folder: Path) -> None:
        """Writes card.json into the folder, over an earlier one."""
        (folder / CARD_NAME).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    @staticmethod
    def read(folder: Path) -> "Card":
        """The card in the folder. Raises BadArtifact where it is missing, damaged or of another format."""
        try:
            return Card.model_validate_json((folder / CARD_NAME).read_bytes())
        except OSError as error:
            raise BadArtifact(f"'{CARD_NAME}' cannot be read: {error.strerror}. Export the version again.") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise BadArtifact(f"'{CARD_NAME}' is no card of format card/1: {where} {first['msg']}.") from error

    def verify(self, folder: Path) -> None:
        """Returns where every file is there with the bytes that the card names; else raises BadArtifact."""
        for name in (*FILES, *self.files):
            if name not in self.files:
                raise BadArtifact(f"The card does not name '{name}'. Export the version again.")
            if not (folder / name).is_file():
                raise BadArtifact(f"'{name}' is missing from the version. Export it again.")
            if file_sha256(folder / name) != self.files[name]:
                raise BadArtifact(f"'{name}' is damaged: its sha256 is not the one on the card. Export it again.")


def file_sha256(path: Path) -> str:
    """Hash of the file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
