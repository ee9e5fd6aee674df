"""Every random number of a training step, as a function of (seed, images shown, purpose).

Numbers are drawn for the whole global batch and then cut to this process's rows, so that a run is
the same however many processes share its batch, and a resumed run needs no generator's state.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

CRITIC, GENERATOR, PATH, R1, SHEET = range(5)  # purposes: streams that never meet


class Draws:
    """Random numbers of one purpose in one step: rows of the global batch, first axis N."""

    def __init__(
        self,
        seed: int,
        images: int,
        purpose: int,
        *,
        rows: Sequence[int],
        batch: int,
        device: torch.device | str = "cpu",
    ) -> None:
        words = np.random.SeedSequence([seed, images, purpose]).generate_state(2, np.uint64)
        self.generator = torch.Generator(device).manual_seed(int(words[0] >> np.uint64(1)))
        self.host = torch.Generator().manual_seed(int(words[1] >> np.uint64(1)))
        self.batch = batch
        self.rows = None if list(rows) == list(range(batch)) else torch.tensor(list(rows))

    def normal(self, *shape: int) -> Tensor:
        """N(0,1), float32 [N,*shape]."""
        device = self.generator.device
        return self._mine(torch.randn(self.batch, *shape, generator=self.generator, device=device))

    def uniform(self, *shape: int) -> Tensor:
        """Uniform in [0, 1), float32 [N,*shape]."""
        device = self.generator.device
        return self._mine(torch.rand(self.batch, *shape, generator=self.generator, device=device))

    def integers(self, low: int, high: int) -> Tensor:
        """Uniform integers of [low, high), int64 [N]."""
        device = self.generator.device
        values = torch.randint(low, high, (self.batch,), generator=self.generator, device=device)
        return self._mine(values)

    def host_uniform(self, *shape: int) -> Tensor:
        """Uniform in [0, 1) on the CPU, for what indexes; float32 [N,*shape]."""
        return self._mine(torch.rand(self.batch, *shape, generator=self.host))

    def _mine(self, values: Tensor) -> Tensor:
        return values if self.rows is None else values[self.rows.to(values.device)]
