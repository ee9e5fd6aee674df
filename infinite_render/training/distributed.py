"""Many processes, one run: who has which rows of the batch, and how gradients meet.

`torchrun` starts the processes; the global batch stays the recipe's. A step here runs a network
several times between two optimiser steps and differentiates twice, which the hooks of
DistributedDataParallel do not allow; so gradients are summed explicitly, in one flat buffer, just
before each optimiser step. Losses are means over samples, so that is the gradient of one process;
the groups of the minibatch deviation stay whole where batch / (2 processes) is a multiple of one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from infinite_render.errors import UsageError


@dataclass(frozen=True)
class Ranks:
    """This process among `count`; rank 0 writes."""

    rank: int = 0
    count: int = 1

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

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each gradient by its mean over processes."""
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        dist.all_reduce(flat)
        flat /= self.count
        offset = 0
        for gradient in gradients:
            part = flat[offset : offset + gradient.numel()]
            gradient.copy_(part.view_as(gradient))
            offset += gradient.numel()

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

    def wait(self) -> None:
        """Until every process is here."""
        if self.count > 1:
            dist.barrier()


ALONE = Ranks()


def join(device: torch.device) -> Ranks:
    """Join the processes `torchrun` started; ALONE when it did not."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return ALONE
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Ranks(dist.get_rank(), count)


def leave() -> None:
    """Leave the group, if one was joined."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
