"""Weight gradients of 3×3 convolutions as matrix products, for processors whose library is slow at them.

oneDNN's own reach half the speed of its forward pass on AVX2, and are half the time of a step of ResNet18. Here each
image is laid out as rows of pixels with one row and one column of zeros behind it, so that a shift of the kernel is a
shift of all rows by one number, and the gradient of a kernel's row is a sum of products of matrices that lie there
already. On processors with AVX-512 oneDNN is faster.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_input
from torch.overrides import TorchFunctionMode

_MIN_CHANNELS = 64
_MIN_ELEMENTS = 25_000  # of one image's activations; below it, the zeros cost more than is gained
_CHUNK = 2_048  # rows of pixels of one product: its operands stay in the second-level cache


def quick_weight_gradients(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Within the `with` block convolutions note how to find their weight gradient as matrix products, where it pays.

    The choice follows from processor and shapes and not from a measurement: a resumed run makes it again.
    """
    pays = device.type == "cpu" and dtype == torch.float32 and torch.backends.cpu.get_cpu_capability() == "AVX2"
    return _QuickWeightGradients() if pays else nullcontext()


class _QuickWeightGradients(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is functional.conv2d and not kwargs and _pays(*args):
            return _Convolution.apply(*args[:2])
        return func(*args, **(kwargs or {}))


def _pays(
    inputs_NCHW: Tensor,
    weight_KCHW: Tensor,
    bias_K: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> bool:
    return (
        bias_K is None
        and weight_KCHW.requires_grad
        and weight_KCHW.shape[2:] == (3, 3)
        and (stride, padding, dilation, groups) == ((1, 1), (1, 1), (1, 1), 1)
        and min(weight_KCHW.shape[:2]) >= _MIN_CHANNELS
        and inputs_NCHW[0].numel() >= _MIN_ELEMENTS
    )


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs_NCHW: Tensor, weight_KCHW: Tensor) -> Tensor:
        ctx.save_for_backward(inputs_NCHW, weight_KCHW)
        return functional.conv2d(inputs_NCHW, weight_KCHW, padding=1)

    @staticmethod
    def backward(ctx: Any, gradient_NKHW: Tensor) -> tuple[Tensor | None, Tensor | None]:
        inputs_NCHW, weight_KCHW = ctx.saved_tensors
        of_inputs, of_weight = ctx.needs_input_grad
        return (
            conv2d_input(inputs_NCHW.shape, weight_KCHW, gradient_NKHW, padding=1) if of_inputs else None,
            weight_gradient(inputs_NCHW, gradient_NKHW) if of_weight else None,
        )


def weight_gradient(inputs_NCHW: Tensor, gradient_NKHW: Tensor) -> Tensor:
    """Of a convolution with 3×3 weights, stride 1 and padding 1, from its inputs and the gradient of its outputs.

    Shape (K, C, 3, 3); that of `torch.nn.grad.conv2d_weight`, up to the order of additions.
    """
    count, channels, height, width = inputs_NCHW.shape
    # Row r of a matrix of inputs is the pixels r, r + 1 and r + 2: as rows must not overlap, every third, three times.
    threes = -(-count * (height + 1) * (width + 1) // 3)
    chunks = max(1, round(threes / _CHUNK))
    chunk = -(-threes // chunks)
    rows, before = 3 * chunks * chunk, width + 2  # of the first pixel's neighbours
    gradient = _laid_out(gradient_NKHW, 0, rows).view(chunks, chunk, 3, -1)
    inputs = _laid_out(inputs_NCHW, before, rows + 2 * before)
    sums = inputs.new_zeros(3, chunks, gradient_NKHW.shape[1], 3 * channels)
    for kernel_row in range(3):
        for third in range(3):
            first = kernel_row * (width + 1) + third
            columns = inputs[first : first + rows].view(chunks, chunk, 3 * channels)
            sums[kernel_row].baddbmm_(gradient[:, :, third].transpose(1, 2), columns)
    return sums.sum(1).view(3, -1, 3, channels).permute(1, 3, 0, 2)


def _laid_out(images_NCHW: Tensor, before: int, rows: int) -> Tensor:
    """Pixels as rows, shape (rows, C): zeros, then the images, each with a row and a column of zeros behind it."""
    count, channels, height, width = images_NCHW.shape
    laid = images_NCHW.new_zeros(rows, channels)
    end = before + count * (height + 1) * (width + 1)
    laid[before:end].view(count, height + 1, width + 1, channels)[:, :height, :width] = images_NCHW.movedim(1, -1)
    return laid
