"""The precision in which a network trains: a fact about device and network, whatever else the machine does."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from ml import precision
from ml.errors import BadConfig

CPU = torch.device("cpu")
PLAIN = nn.Conv2d(4, 4, 3)
MOBILE = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, groups=4))
HAS_UNITS = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


@pytest.fixture(autouse=True)
def measured_anew() -> Iterator[None]:
    precision._fastest.cache_clear()
    yield
    precision._fastest.cache_clear()


@pytest.fixture
def busy_machine() -> Iterator[None]:
    """Two more processes for each core, which want all of it."""
    count = 2 * (os.cpu_count() or 1)
    others = [subprocess.Popen([sys.executable, "-c", "while True: sum(range(9_999))"]) for _ in range(count)]
    yield
    for other in others:
        other.kill()
        other.wait(10)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only there is known which processors have the units")
@pytest.mark.usefixtures("busy_machine")
def test_auto_is_bfloat16_where_the_processor_has_units_for_it_however_busy_it_is() -> None:
    chosen = set()
    for _ in range(5):
        precision._fastest.cache_clear()
        chosen.add(precision.choose("auto", CPU, PLAIN))
    assert chosen == {torch.bfloat16 if HAS_UNITS else torch.float32}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="oneDNN can be told only there what a processor lacks")
def test_auto_is_float32_on_a_processor_without_the_units() -> None:
    code = "import torch; from ml import precision; print(precision.choose('auto', torch.device('cpu'), {}))"
    code = code.format("torch.nn.Conv2d(4, 4, 3)")
    lacking = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    said = subprocess.run([sys.executable, "-c", code], env=lacking, capture_output=True, text=True, check=True)
    assert said.stdout == "torch.float32\n"


@pytest.mark.parametrize(
    ("plain", "depthwise", "chosen_plain", "chosen_mobile"),
    [
        (2.5, 1.5, torch.bfloat16, torch.bfloat16),
        (2.5, 0.6, torch.bfloat16, torch.float32),
        (1.1, 1.1, torch.float32, torch.float32),
        (0.3, 2.0, torch.float32, torch.float32),
    ],
)
def test_auto_is_what_is_clearly_faster_in_every_kind_of_convolution_of_the_network(
    monkeypatch: pytest.MonkeyPatch,
    plain: float,
    depthwise: float,
    chosen_plain: torch.dtype,
    chosen_mobile: torch.dtype,
) -> None:
    monkeypatch.setattr(precision, "speedups", lambda device, of: {torch.bfloat16: depthwise if of else plain})
    assert precision.choose("auto", CPU, PLAIN) == chosen_plain
    assert precision.choose("auto", CPU, MOBILE) == chosen_mobile


@pytest.mark.parametrize(
    ("bfloat16", "float16", "chosen"),
    [
        (3.0, 3.1, torch.bfloat16),
        (3.1, 3.0, torch.bfloat16),
        (1.0, 3.0, torch.float16),
        (1.0, 1.1, torch.float32),
        (1.5, 3.0, torch.float16),
    ],
)
def test_of_two_that_are_about_as_fast_a_gpu_always_takes_the_same(
    monkeypatch: pytest.MonkeyPatch, bfloat16: float, float16: float, chosen: torch.dtype
) -> None:
    monkeypatch.setattr(precision, "speedups", lambda device, of: {torch.bfloat16: bfloat16, torch.float16: float16})
    assert precision.choose("auto", torch.device("cuda"), PLAIN) == chosen


def test_auto_is_float32_where_there_is_nothing_to_measure() -> None:
    assert precision.choose("auto", CPU, nn.Linear(2, 2)) == torch.float32
    assert precision.choose("auto", torch.device("mps"), PLAIN) == torch.float32


@pytest.mark.parametrize("is_depthwise", [False, True])
def test_measuring_takes_no_random_numbers_and_leaves_the_threads_as_they_were(is_depthwise: bool) -> None:
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    assert precision.speedups(CPU, is_depthwise)[torch.bfloat16] > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_what_was_requested_is_taken() -> None:
    assert precision.choose("bfloat16", CPU, MOBILE) == torch.bfloat16


def test_half_precision_on_the_cpu_is_refused() -> None:
    with pytest.raises(BadConfig, match="float16"):
        precision.choose("float16", CPU, PLAIN)
