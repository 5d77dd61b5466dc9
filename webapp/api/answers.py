"""What clients get: the shape of every answer. `schemas` fills them; the OpenAPI document describes them.

Shapes are typed dictionaries: mypy compares what is filled in with what is described, and nothing is copied.
"""

from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from ml.config import Split, TrainConfig, Variant
from ml.decisions import OperatingPoint
from ml.metrics import Metrics
from ml.spread import Spread
from webapp.api.shapes import Dumped, Moment, Probability
from webapp.models import DATASET_STATUSES, JOB_STATUSES

Scores = Annotated[dict[str, Any], Dumped(Metrics)]
Configuration = Annotated[dict[str, Any], Dumped(TrainConfig)]
JobStatus = Annotated[str, Field(json_schema_extra={"enum": list(JOB_STATUSES)})]
DatasetStatus = Annotated[str, Field(json_schema_extra={"enum": list(DATASET_STATUSES)})]


class ModelName(TypedDict):
    version: int
    variant: Variant
    name: str


class Prediction(TypedDict):
    """The answer for one image, or `error` where that image has none.

    `decision` is null where the version abstained; `label` is what it leans to. Both are null outside the domain.
    """

    filename: str | None
    error: NotRequired[str]
    label: NotRequired[str | None]
    probability: NotRequired[Probability | None]
    probabilities: NotRequired[dict[str, Probability]]
    decision: NotRequired[str | None]
    operating_point: NotRequired[Annotated[dict[str, Any], Dumped(OperatingPoint)] | None]
    abstained: NotRequired[bool]
    prediction_set: NotRequired[list[str] | None]
    in_domain: NotRequired[bool | None]
    heatmap_png: NotRequired[str | None]


class Predictions(TypedDict):
    """One prediction for each image, in the order of the request."""

    model: ModelName
    predictions: list[Annotated[dict[str, Any], Dumped(Prediction)]]
    request_id: str


class BatchResults(TypedDict):
    csv: str
    json: str


class BatchPrediction(TypedDict):
    """The images of an archive scored by one version; `errors` of them could not be, `results` has the answers."""

    id: int
    name: str
    status: JobStatus
    version: int
    images: int
    errors: int
    left_out: int
    failed_because: str | None
    attempts: int
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    results: BatchResults | None
    url: str


class Dataset(TypedDict):
    """A labelled set of images: `pending` while it is read, `review` while a person is asked, `ready` or `rejected`."""

    id: int
    name: str
    status: DatasetStatus
    rejected_because: str | None
    progress: Probability
    sha256: str | None
    images: int
    groups: int
    classes: list[dict[str, Any]]
    positive_class: str | None
    source: str
    issues: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    left_out: list[dict[str, Any]]
    quarantined: int
    leaks: int
    divided_by_chance: int
    options: dict[str, Any]
    preview: dict[str, Any] | None
    line: str
    number: int
    parent_number: int | None
    change: dict[str, Any] | None
    difference: dict[str, Any] | None
    created_at: Moment
    url: str


class Image(TypedDict):
    """One line of a data set's manifest."""

    number: int
    path: str
    label: str
    split: Split
    group: str | None
    sha256: str
    width: int
    height: int
    cluster: int | None
    quarantined: bool
    metadata: dict[str, str]
    issues: list[str]


class Epoch(TypedDict):
    number: int
    attempt: int
    train_loss: float
    train_accuracy: Probability
    validation_loss: float
    validation_accuracy: Probability
    validation_auc: Probability | None
    learning_rate: float
    seconds: float
    images_per_s: float


class DatasetName(TypedDict):
    name: str
    number: int
    sha256: str | None


class Experiment(TypedDict):
    """A training run; `version` is the model that it made, `metrics` its scores on the test images."""

    id: int
    name: str
    dataset_id: int
    dataset: DatasetName
    status: JobStatus
    progress: Probability
    phase: str
    eta_s: float | None
    images_per_s: float | None
    device: str | None
    config: Configuration
    epochs: list[Epoch]
    metrics: Scores | None
    version: int | None
    study: int | None
    member: int | None
    search: int | None
    trial: int | None
    pruned_epoch: int | None
    failed_because: str | None
    attempts: int
    checkpoint_epoch: int
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    url: str


class Member(TypedDict):
    number: int | None
    experiment: int
    status: JobStatus
    progress: Probability
    version: int | None


class Study(TypedDict):
    """One configuration trained k times; `scores` has mean and interval of each score over the finished members."""

    id: int
    name: str
    dataset_id: int
    kind: str
    k: int
    status: str
    config: Configuration
    members: list[Member]
    finished: int
    scores: dict[str, Annotated[dict[str, Any], Dumped(Spread)]]
    pooled: Scores | None
    created_at: Moment
    url: str


class VersionFile(TypedDict):
    sha256: str
    url: str


class IntendedUse(TypedDict):
    """What a version is for, as a person wrote it."""

    text: str
    by: str | None
    at: Moment | None


class Version(TypedDict):
    """A finished, immutable model; `intended_use` is null until a person has written it."""

    version: int
    name: str
    network: str
    classes: list[str]
    positive_class: str | None
    experiment_id: int
    dataset_id: int
    removed_groups: list[Any]
    intended_use: IntendedUse | None
    sha256: str
    is_active: bool
    variants: list[Variant]
    files: dict[str, VersionFile]
    report: str
    metrics: Scores | None
    created_at: Moment
    url: str


class VersionWithCard(Version):
    card: dict[str, Any]


class Activation(TypedDict):
    """Who made which version the one that serves, when and why."""

    version: int
    variant: Variant
    name: str
    reason: str
    by: str
    is_rollback: bool
    activated_at: Moment


class Evaluation(TypedDict):
    """The scores of a version on a split of a data set."""

    id: int
    version: int
    dataset_id: int
    split: str
    status: JobStatus
    progress: Probability
    failed_because: str | None
    attempts: int
    robustness: dict[str, Any] | None
    metrics: Scores | None
    confident_errors: list[dict[str, Any]]
    test_looks: int
    created_at: Moment
    finished_at: Moment | None
    url: str
