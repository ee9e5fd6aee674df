"""Many processes, one run: who has which rows of the batch, and how gradients meet.

`torchrun` starts the processes; the global batch stays the recipe's. Gradients meet in
DistributedDataParallel: of each network one, made once, through which every loss goes on its way
to `.grad`. Losses are means over samples, so what meets is the gradient of one process; the groups
of the minibatch deviation stay whole where batch / (2 processes) is a multiple of one.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from infinite_render.errors import InfrenderError, UsageError


class Loss(nn.Module):
    """A network as DistributedDataParallel takes it: what goes forward is a loss made of it.

    A step runs a network several times, and may share what it made between two optimiser steps,
    before it has a loss. The hooks wait for the backward pass alone, so the loss is all they need:
    from it they find the parameters it reaches, through gradients of gradients as well.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.trained = nn.ParameterList(p for p in network.parameters() if p.requires_grad)
        # No loss reaches this one: else a step whose loss reaches all would be warned that it
        # had been searched for nothing.
        self.unused = nn.Parameter(torch.zeros((), device=self.trained[0].device))

    def forward(self, loss: Tensor) -> Tensor:
        """The loss, a scalar, as it is."""
        return loss


@dataclass(frozen=True)
class Ranks:
    """This process among `count`; rank 0 writes. `shared`: the networks whose gradients meet."""

    rank: int = 0
    count: int = 1
    shared: Mapping[nn.Module, DistributedDataParallel] = field(
        default_factory=dict, compare=False, repr=False
    )

    @property
    def writes(self) -> bool:
        return self.rank == 0

    def rows(self, batch: int, *, paired: bool) -> list[int]:
        """Rows of the global batch that are this process's: an equal part of each half of it.

        So pairs (i, i + batch / 2) stay together. Raises UsageError when the batch does not divide.

        >>> Ranks(1, 2).rows(8, paired=True)
        [2, 3, 6, 7]
        """
        halves = 2 if batch % (2 * self.count) == 0 else 1
        if batch % self.count or (paired and halves == 1):
            unit = f"{self.count} processes" + (" times 2, for the pairs" if paired else "")
            raise UsageError(
                f"batch = {batch} is not divisible by {unit}; start another number of processes "
                "or change the recipe's batch"
            )
        block, share = batch // halves, batch // (halves * self.count)
        first = range(self.rank * share, (self.rank + 1) * share)
        return [half * block + row for half in range(halves) for row in first]

    def sharing(self, *networks: nn.Module) -> Ranks:
        """These processes with the gradients of `networks` to meet; all take rank 0's weights.

        Call it before a network is run: hooks go on parameters that require a gradient, and the
        weights are written in place. A process alone shares with nobody.
        """
        if self.count == 1:
            return self
        # The gradient of a kernel of one pixel may come with other strides than its weight: they
        # say nothing there, but each process would be told of it.
        warnings.filterwarnings("ignore", "Grad strides do not match")
        # A penalty on gradients does not reach every bias, and Adam shall not move what it does
        # not reach: so what is unused is searched for, and keeps no gradient.
        shared = {
            network: DistributedDataParallel(Loss(network), find_unused_parameters=True)
            for network in networks
        }
        return replace(self, shared=shared)

    def backward(self, loss: Tensor, network: nn.Module) -> None:
        """Leave in `.grad` of the network's parameters the gradient of the mean loss of all.

        Once an optimiser step, on every process.
        """
        if self.count > 1:
            loss = self.shared[network](loss)
        loss.backward()  # type: ignore[no-untyped-call]

    def mean(self, value: Tensor) -> Tensor:
        """The mean over processes of a tensor without gradient."""
        if self.count == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total / self.count

    def any(self, flags: Sequence[bool], device: torch.device) -> list[bool]:
        """Whether each flag is up in any process."""
        if self.count == 1:
            return list(flags)
        raised = torch.tensor([float(flag) for flag in flags], device=device)
        dist.all_reduce(raised, op=dist.ReduceOp.MAX)
        return [bool(value) for value in raised.tolist()]

    @contextmanager
    def together(self, device: torch.device) -> Iterator[None]:
        """Wait at the end until every process is here; an error of one ends all of them.

        For what rank 0 does alone: the others would see a broken connection, and not why.
        """
        refused: InfrenderError | None = None
        try:
            yield
        except InfrenderError as error:
            refused = error
        if self.any([refused is not None], device)[0]:
            raise refused or UsageError("another process of this run was refused")


ALONE = Ranks()


def join(device: torch.device) -> Ranks:
    """Join the processes `torchrun` started; ALONE when it did not. `device`: cpu or cuda:N."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return ALONE
    if not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)  # where nccl puts what it is not told where to put
            dist.init_process_group("nccl", device_id=device)
        else:
            dist.init_process_group("gloo")
    return Ranks(dist.get_rank(), count)


def leave() -> None:
    """Leave the group, if one was joined."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
