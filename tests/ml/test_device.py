"""Choosing a device."""

import os

import pytest
import torch

from ml import device
from ml.errors import BadConfig


def test_the_cpu_is_always_there() -> None:
    assert device.choose("cpu") == torch.device("cpu")


def test_the_request_of_a_run_beats_the_default_of_the_worker() -> None:
    assert device.choose("cpu", default="cuda").type == "cpu"


def test_auto_follows_the_default_of_the_worker() -> None:
    assert device.choose("auto", default="cpu").type == "cpu"


def test_auto_prefers_a_gpu_where_there_is_one() -> None:
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    assert (device.choose("auto").type != "cpu") == has_gpu


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize(("requested", "default"), [("cuda", "auto"), ("auto", "cuda")])
def test_an_absent_device_is_an_error_that_says_what_there_is(requested: str, default: str) -> None:
    with pytest.raises(BadConfig, match=r"'cuda' is not available.*cpu"):
        device.choose(requested, default)


def test_more_devices_than_there_are_are_refused_with_their_number() -> None:
    cores = os.cpu_count() or 1
    assert device.choose("cpu", devices=cores).type == "cpu"
    with pytest.raises(BadConfig, match=rf"has {cores} cores of the processor; {cores + 1} were asked for"):
        device.choose("cpu", devices=cores + 1)


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="this machine has a GPU")
def test_the_processor_stands_for_several_devices_only_where_it_was_asked_for() -> None:
    with pytest.raises(BadConfig, match="has no GPU, and 2 devices were asked for"):
        device.choose("auto", default="cpu", devices=2)


def test_a_device_is_described_by_its_kind_first() -> None:
    assert device.describe(torch.device("cpu")).startswith("cpu: ")
    assert device.describe(torch.device("cpu"), 2).endswith("threads of 2 processes")
