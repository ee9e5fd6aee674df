"""Floors: measures of a picture that are linear in its latents, kept above what each may be least.

    w, z_g or drift -> latent . reads -> how far below its floor -> latent + as much of moves

A style's light, age or contrast is nearly linear in w (Shen et al. 2020, InterFaceGAN); some of
what stands where is so in z_g or in what drifts of z_l. A latent that reads too low is moved along
what goes with that measure in latents at large, and with no other measure, until it reads about its
floor; one well above stays where it is. Drift is moved to its floor exactly (`fields.local`).
"""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHARPNESS = 4.0  # of a floor, to a unit of the measure


class Floor(NamedTuple):
    """One of `Floors`, as plain values."""

    reads: tuple[float, ...]
    moves: tuple[float, ...]
    least: float


class Floors(nn.Module):
    """K measures of latents of D channels; all zero, a floor changes nothing."""

    reads: Tensor  # [K,D]: a measure is latent . reads
    moves: Tensor  # [K,D]: what added to a latent raises that measure by 1, and no other
    least: Tensor  # [K]

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("reads", torch.zeros(count, dim))
        self.register_buffer("moves", torch.zeros(count, dim))
        self.register_buffer("least", torch.zeros(count))

    @classmethod
    def of(cls, reads: Tensor, moves: Tensor, least: Tensor) -> Self:
        """Floors of these values, kept as float32."""
        floors = cls(*reads.shape)
        for buffer, values in zip(floors.buffers(), (reads, moves, least), strict=True):
            buffer.copy_(values)
        return floors

    def since(self, first: int) -> Self:
        """Those from number `first` on."""
        return self.of(self.reads[first:], self.moves[first:], self.least[first:])

    def each(self) -> tuple[Floor, ...]:
        """All of them, one by one."""
        rows = zip(self.reads.tolist(), self.moves.tolist(), self.least.tolist(), strict=True)
        return tuple(Floor(tuple(reads), tuple(moves), least) for reads, moves, least in rows)

    def forward(self, latents: Tensor) -> Tensor:
        """Latents [...,D], none of them below a floor; summed in float64."""
        reads, moves, least = self.reads.double(), self.moves.double(), self.least.double()
        short = F.softplus(SHARPNESS * (least - latents.double() @ reads.T)) / SHARPNESS
        return latents + (short @ moves).to(latents)
