"""Forms made from pydantic models."""

import pytest

from ml.config import TrainConfig
from ml.ingest_options import IngestOptions
from webapp import forms
from webapp.errors import Invalid


def test_every_hyper_parameter_has_one_input_that_shows_its_default() -> None:
    groups = forms.groups_of(TrainConfig, "config", {}, {})
    shown = {field.name: field.value for group in groups for field in group.fields}
    assert shown == forms.flatten(TrainConfig().model_dump(), "config")
    assert [group.title for group in groups] == ["", "Augmentation"]


def test_labels_help_limits_and_choices_come_from_the_model() -> None:
    own = forms.groups_of(TrainConfig, "config", {}, {})[0].fields
    fields = {field.name.removeprefix("config."): field for field in own}
    assert fields["network"].choices[0] == "cnn"
    assert (fields["epochs"].minimum, fields["epochs"].maximum, fields["epochs"].step) == (1, 1000, "1")
    assert fields["learning_rate"].help == "above 0 up to 10"
    assert fields["image_size_px"].label == "Image size (px)"
    assert fields["seed"].help == "from 0"


def test_what_the_form_shows_is_what_it_reads_back() -> None:
    config = TrainConfig(network="resnet18", epochs=7, learning_rate=3e-4, augmentation={"horizontal_flip": False})
    values = forms.flatten(config.model_dump(), "config")
    sent = {name: "on" if value is True else str(value) for name, value in values.items() if value is not False}
    assert forms.parse(TrainConfig, "config", forms.typed(TrainConfig, "config", sent)) == config


def test_an_empty_text_is_none_where_none_is_allowed_and_a_mistake_elsewhere() -> None:
    values = forms.typed(IngestOptions, "options", {"options.group_pattern": " ", "options.seed": ""})
    assert values["options.group_pattern"] is None
    with pytest.raises(Invalid) as caught:
        forms.parse(IngestOptions, "options", values)
    assert list(caught.value.fields) == ["options.seed"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("config.epochs", "0"),
        ("config.epochs", "many"),
        ("config.learning_rate", "nan"),
        ("config.network", "vgg"),
        ("config.augmentation.crop_scale", "2"),
    ],
)
def test_a_mistake_is_reported_under_the_name_of_its_input(name: str, value: str) -> None:
    with pytest.raises(Invalid) as caught:
        forms.parse(TrainConfig, "config", {name: value})
    assert list(caught.value.fields) == [name]


def test_a_mistake_of_the_whole_is_reported_at_its_group() -> None:
    with pytest.raises(Invalid) as caught:
        forms.parse(IngestOptions, "options", {"options.splits.train": "0.9"})
    assert list(caught.value.fields) == ["options.splits"]
    group = forms.groups_of(IngestOptions, "options", {}, caught.value.fields)[1]
    assert group.error is not None
    assert "add up to 1.200" in group.error
