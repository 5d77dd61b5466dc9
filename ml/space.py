"""What a search may vary: the sensible values of each hyper-parameter; its plan and its trials. Free of torch."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from ml.config import Frozen, TrainConfig
from ml.errors import BadConfig

Value = bool | int | float | str
State = Literal["running", "finished", "pruned", "failed"]


class Dimension(Frozen):
    """The values that a search may give to one hyper-parameter: from `low` to `high`, or one of the choices."""

    low: float | None = Field(None, allow_inf_nan=False)
    high: float | None = Field(None, allow_inf_nan=False)
    is_log: bool = Field(False, description="Every power of ten is as likely as every other")
    choices: tuple[Value, ...] = Field((), max_length=20)

    @model_validator(mode="after")
    def _is_a_range_or_choices(self) -> Self:
        if self.choices:
            if self.low is not None or self.high is not None or len(set(map(repr, self.choices))) < 2:
                raise ValueError("Choose two values or more, and no range beside them.")
        elif self.low is None and self.high is None:
            raise ValueError("Choose two values or more, or give the lowest and the highest.")
        elif self.low is None or self.high is None or not self.low < self.high:
            raise ValueError("The lowest value must lie below the highest.")
        elif self.is_log and self.low <= 0:
            raise ValueError("A range in powers of ten begins above 0.")
        return self

    def corners(self) -> tuple[Value, ...]:
        """The values that must fit the rest of a configuration, so that all do."""
        return self.choices or (self.low or 0, self.high or 0)


def _range(low: float, high: float, is_log: bool = False) -> Dimension:
    return Dimension(low=low, high=high, is_log=is_log)


def _choices(*values: Value) -> Dimension:
    return Dimension(choices=values)


# By dotted name of the field of `TrainConfig`, which has the title, the limits and the type. Their one home.
SENSIBLE: dict[str, Dimension] = {
    "learning_rate": _range(1e-5, 1e-1, is_log=True),
    "weight_decay": _range(1e-5, 1e-1, is_log=True),
    "batch_size": _range(8, 128, is_log=True),
    "optimizer": _choices("sgd", "adamw"),
    "schedule": _choices("constant", "cosine", "one_cycle"),
    "dropout": _range(0, 0.6),
    "label_smoothing": _range(0, 0.2),
    "class_weighting": _choices("none", "balanced", "sampler"),
    "image_size_px": _choices(32, 64, 96, 128, 160, 224),
    "trainable_stages": _range(1, 5),
    "layer_decay": _range(0.5, 1),
    "weight_averaging": _choices(0.0, 0.99, 0.999),
    "mixup": _range(0, 0.5),
    "cutmix": _range(0, 1),
    "augmentation.horizontal_flip": _choices(False, True),
    "augmentation.vertical_flip": _choices(False, True),
    "augmentation.crop_scale": _range(0.5, 1),
    "augmentation.rotation_degrees": _range(0, 45),
    "augmentation.color_jitter": _range(0, 0.4),
    "augmentation.random_erasing": _range(0, 0.5),
}


class Plan(Frozen):
    """What one search tries, how often, and what it judges by. Validation judges; the test images are never asked."""

    trials: int = Field(20, ge=2, le=500, title="Trials", description="Trainings, each an experiment")
    metric: Literal["auc", "accuracy", "loss"] = Field(
        "auc", title="Score to improve", description="Of the validation images, in the epoch that is kept"
    )
    pruning: Literal["median", "halving", "none"] = Field(
        "median",
        title="Stop poor trials early",
        description="median: worse than half of the others. halving: the best third goes on after epochs 1, 3, 9, ...",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Seed of the search")
    space: dict[str, Dimension] = Field(default_factory=dict, max_length=len(SENSIBLE))


@dataclass(frozen=True)
class Trial:
    """One trial: its values, where it stands, the score of each epoch by number, and of the epoch that is kept."""

    values: dict[str, Value]
    state: State
    score_by_epoch: dict[int, float] = field(default_factory=dict)
    score: float | None = None


def field_of(name: str) -> Any:
    """The field of `TrainConfig` of that dotted name."""
    model: Any = TrainConfig
    *parents, last = name.split(".")
    for parent in parents:
        model = model.model_fields[parent].annotation
    return model.model_fields[last]


def title_of(name: str) -> str:
    return str(field_of(name).title)


def is_whole(name: str) -> bool:
    """Whether the hyper-parameter is a whole number."""
    return field_of(name).annotation is int


def with_values(config: TrainConfig, values: Mapping[str, Value]) -> TrainConfig:
    """The configuration with other values by dotted name. Raises BadConfig where they do not fit."""
    fields = config.model_dump(mode="json")
    for name, value in values.items():
        *parents, last = name.split(".")
        branch = fields
        for parent in parents:
            branch = branch[parent]
        branch[last] = value
    try:
        return TrainConfig.model_validate(fields)
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise BadConfig(f"{json.dumps(dict(values))} does not fit the other settings: {said}") from error


def values_of(config: Mapping[str, Any], names: Iterable[str]) -> dict[str, Value]:
    """The values of a dumped configuration by dotted name."""
    found = {}
    for name in names:
        value: Any = config
        for part in name.split("."):
            value = value[part]
        found[name] = value
    return found


def check(plan: Plan, config: TrainConfig) -> None:
    """Raises BadConfig, which names the hyper-parameter, where a value of the space cannot be used."""
    if not plan.space:
        raise BadConfig("A search needs at least one setting to vary. Tick one, such as the learning rate.")
    for name, dimension in plan.space.items():
        if name not in SENSIBLE:
            raise BadConfig(f"'{name[:60]}' is no setting that a search varies; it may vary {', '.join(SENSIBLE)}.")
        if bool(dimension.choices) != bool(SENSIBLE[name].choices):
            kind = "choices" if SENSIBLE[name].choices else "a lowest and a highest value"
            raise BadConfig(f"The space of '{name}' must be {kind}.")
        if name == "batch_size" and config.devices > 1:
            raise BadConfig(
                f"The batch size cannot vary while {config.devices} devices share each batch evenly. "
                "Leave it out of the search, or train on one device."
            )
        for value in dimension.corners():
            _check_value(name, value, config)


def _check_value(name: str, value: Value, config: TrainConfig) -> None:
    """A search finds its values again in the configurations of its trials: what is kept must equal what was asked."""
    if is_whole(name) and isinstance(value, float) and value.is_integer():
        value = int(value)
    (kept,) = values_of(with_values(config, {name: value}).model_dump(mode="json"), [name]).values()
    if kept != value:
        raise BadConfig(f"{json.dumps(value)} is no value of '{name}'; write it as {json.dumps(kept)}.")
