"""Hyper-parameters: what is refused."""

import pytest
from pydantic import ValidationError

from ml.config import TrainConfig
from ml.ingest_options import IngestOptions


def test_one_epoch_needs_no_other_setting() -> None:
    assert TrainConfig(epochs=1).epochs == 1


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
def test_a_warm_up_longer_than_the_run_is_refused(schedule: str) -> None:
    with pytest.raises(ValidationError, match="warm-up of 4 epochs is longer than the run of 3"):
        TrainConfig.model_validate({"epochs": 3, "warmup_epochs": 4, "schedule": schedule})


def test_where_no_warm_up_is_used_its_length_does_not_matter() -> None:
    assert TrainConfig(epochs=3, warmup_epochs=4, schedule="one_cycle").warmup_epochs == 4


def test_float16_on_the_processor_is_refused() -> None:
    with pytest.raises(ValidationError, match="'float16' needs a GPU"):
        TrainConfig(precision="float16", device="cpu")


def test_a_batch_that_devices_cannot_share_evenly_is_refused_and_the_next_ones_are_named() -> None:
    assert TrainConfig(batch_size=32, devices=4).devices == 4
    with pytest.raises(ValidationError, match="Choose a batch size of 30 or 33"):
        TrainConfig(batch_size=32, devices=3)


@pytest.mark.parametrize("wrong", [{"operating_target": "luck"}, {"operating_value": 0}, {"operating_value": 1}])
def test_an_operating_point_that_cannot_be_reached_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TrainConfig.model_validate(wrong)


@pytest.mark.parametrize("device", ["auto", "cuda", "mps"])
def test_float16_is_accepted_where_a_gpu_may_be(device: str) -> None:
    assert TrainConfig.model_validate({"precision": "float16", "device": device}).precision == "float16"


@pytest.mark.parametrize("name", ["group_pattern", "exclude_pattern"])
def test_a_pattern_is_checked_before_it_is_used(name: str) -> None:
    with pytest.raises(ValidationError, match="Not a regular expression"):
        IngestOptions.model_validate({name: "("})
    with pytest.raises(ValidationError, match="counted repeats"):
        IngestOptions.model_validate({name: "a{100000000}"})
