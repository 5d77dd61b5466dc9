"""Weight gradients as matrix products: what torch's own are, whatever the layout."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from ml import convolution

LAYOUTS = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["NCHW", "NHWC"])


@LAYOUTS
@pytest.mark.parametrize("shape", [(2, 64, 96, 20, 23), (3, 70, 130, 9, 41), (1, 512, 64, 7, 7), (9, 64, 64, 56, 31)])
def test_the_weight_gradient_is_that_of_torch(shape: tuple[int, ...], layout: torch.memory_format) -> None:
    count, channels_in, channels_out, height, width = shape
    generator = torch.Generator().manual_seed(1)
    inputs, gradient = (
        torch.randn(count, channels, height, width, generator=generator, dtype=torch.float64)
        for channels in (channels_in, channels_out)
    )
    expected = conv2d_weight(inputs, (channels_out, channels_in, 3, 3), gradient, padding=1)
    found = convolution.weight_gradient(inputs.contiguous(memory_format=layout), gradient)
    torch.testing.assert_close(found, expected)


@LAYOUTS
def test_a_network_learns_the_same_within_the_block(
    layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    found: list[Any] = []
    monkeypatch.setattr(convolution, "weight_gradient", _noting(convolution.weight_gradient, found))
    (plain_loss, plain), (loss, quick) = (_gradients(layout, is_quick) for is_quick in (False, True))
    assert len(found) == 2  # the others have few channels, a stride, few pixels, a bias
    assert torch.equal(loss, plain_loss)
    torch.testing.assert_close(quick, plain, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("capability", "device", "dtype"),
    [("AVX512", "cpu", torch.float32), ("AVX2", "cuda", torch.float32), ("AVX2", "cpu", torch.bfloat16)],
)
def test_elsewhere_the_library_does_it(
    capability: str, device: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(convolution, "weight_gradient", _unwanted)
    with convolution.quick_weight_gradients(torch.device(device), dtype):
        weight = torch.zeros(64, 64, 3, 3, requires_grad=True)
        functional.conv2d(torch.zeros(1, 64, 32, 32), weight, padding=(1, 1), stride=(1, 1)).sum().backward()
    assert weight.grad is not None


def _gradients(layout: torch.memory_format, is_quick: bool) -> tuple[Tensor, list[Tensor]]:
    torch.manual_seed(2)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 64, 3, padding=1, bias=False),
        torch.nn.Conv2d(64, 64, 3, padding=1, bias=False),
        torch.nn.ReLU(),
        torch.nn.Conv2d(64, 128, 3, padding=1, bias=False),
        torch.nn.Conv2d(128, 64, 3, padding=1, stride=2, bias=False),
        torch.nn.Conv2d(64, 64, 3, padding=1, bias=False),
        torch.nn.Conv2d(64, 64, 3, padding=1),
    ).to(memory_format=layout)
    images_NCHW = torch.randn(4, 3, 24, 24).contiguous(memory_format=layout)
    with convolution.quick_weight_gradients(torch.device("cpu"), torch.float32 if is_quick else torch.float64):
        loss = network(images_NCHW).square().mean()
    loss.backward()
    return loss.detach(), [parameter.grad for parameter in network.parameters() if parameter.grad is not None]


def _noting(function: Callable[..., Tensor], calls: list[Any]) -> Callable[..., Tensor]:
    def noted(*arguments: Any) -> Tensor:
        calls.append(arguments)
        return function(*arguments)

    return noted


def _unwanted(*arguments: Any) -> Tensor:
    raise AssertionError("not here")
