"""What one of several processes of a run does otherwise: its share of every batch, and what it asks of the others.

All draw the same random numbers for the whole batch, so that a run on two devices sees the images of a run on one. The
statistics of batch norm are those of the whole batch too; without that, more devices would mean smaller batches.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Share:
    """Every `size`-th image of a batch, from the `rank`-th on; one process alone has all of them."""

    rank: int = 0
    size: int = 1

    def of(self, items: Any) -> Any:
        """This process's part of what belongs to the images of a batch."""
        return items if self.size == 1 else items[self.rank :: self.size]

    def next_epoch(self, number: int, device: torch.device) -> int:
        """The number of the epoch that all train now, as rank 0 says it; 0 means that the run is over."""
        if self.size == 1:
            return number
        told = torch.tensor(number, device=device)
        distributed.broadcast(told, src=0)
        return int(told)

    def learner(self, network: nn.Module) -> nn.Module:
        """The network as it learns for one epoch, on the same weights: after each step they are equal everywhere.

        Made anew for each epoch, as the weights that learn may change between two.
        """
        if self.size == 1:
            return network
        tensors = [*network.parameters(), *network.buffers()]
        twin = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})  # other modules, the same tensors
        if next(network.parameters()).is_cuda:
            twin = nn.SyncBatchNorm.convert_sync_batchnorm(twin)
        else:
            _share_statistics(twin)
        return DistributedDataParallel(twin, forward_sync_buffers=False, gradient_as_bucket_view=True)

    def total(self, sums: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.size > 1:
            distributed.all_reduce(sums)
        return sums


ALONE = Share()


def _share_statistics(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            module.add_module(name, _SharedBatchNorm(child))
        else:
            _share_statistics(child)


class _SharedBatchNorm(nn.Module):
    """Batch norm by mean and variance of all shares, which are equally large; `nn.SyncBatchNorm` refuses the CPU."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.norm: Any = norm

    def forward(self, images_NCHW: Tensor) -> Tensor:
        if not self.norm.training:
            kept_NCHW: Tensor = self.norm(images_NCHW)
            return kept_NCHW
        values_NCHW = images_NCHW.float()
        mean_C11 = _Mean.apply(values_NCHW.mean(dim=(0, 2, 3), keepdim=True)[0])
        centred_NCHW = values_NCHW - mean_C11
        variance_C11 = _Mean.apply(centred_NCHW.square().mean(dim=(0, 2, 3), keepdim=True)[0])
        self._follow(mean_C11.flatten(), variance_C11.flatten(), images_NCHW[:, 0].numel())
        scale_C11 = self.norm.weight[:, None, None] * (variance_C11 + self.norm.eps).rsqrt()
        normal_NCHW: Tensor = centred_NCHW * scale_C11 + self.norm.bias[:, None, None]
        return normal_NCHW.to(images_NCHW.dtype)

    @torch.no_grad()
    def _follow(self, mean_C: Tensor, variance_C: Tensor, values: int) -> None:
        """Moves the running statistics as `nn.BatchNorm2d` does: by the variance of a sample."""
        n = values * distributed.get_world_size()
        self.norm.num_batches_tracked.add_(1)
        self.norm.running_mean.lerp_(mean_C, self.norm.momentum)
        self.norm.running_var.lerp_(variance_C * n / (n - 1), self.norm.momentum)


class _Mean(torch.autograd.Function):
    """The mean over all processes; a gradient with respect to it is the mean of theirs."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        return _mean(value)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return _mean(gradient)


def _mean(value: Tensor) -> Tensor:
    value = value.clone()
    distributed.all_reduce(value)
    return value / distributed.get_world_size()
