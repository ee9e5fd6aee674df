"""The projected discriminator: small trained heads on frozen features, and a vertical position.

After Projected GAN (Sauer et al., NeurIPS 2021): one head a tap, each spectrally normalised, gives
a map of logits; the sum over heads of the mean logit is what is trained. The position head reads
the third tap. The frozen features are handed in and are no part of the state dict.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from infinite_render.nn.features import MULTIPLE_PX, Features
from infinite_render.nn.ops import SLOPE

FINE_STRIDE = 8  # taps up to this stride are halved once by their head
POSITION_TAP = 2  # index among the taps: 112 channels at stride 16


def logit_head(in_dim: int, dim: int, stride: int) -> nn.Sequential:
    """Features [N,in_dim,n,n] -> logits [N,1,n',n']."""
    return nn.Sequential(
        spectral_norm(nn.Conv2d(in_dim, dim, 1)),
        nn.LeakyReLU(SLOPE),
        spectral_norm(nn.Conv2d(dim, dim, 4, stride, 1)),
        nn.LeakyReLU(SLOPE),
        spectral_norm(nn.Conv2d(dim, 1, 3, 1, 1)),
    )


class ProjectedDiscriminator(nn.Module):
    """Patches [N,3,H,W] in [-1, 1] -> logits, one [N,K] a head, and vertical position [N].

    `prepare` is the frozen part (gradients reach the patches through it), `forward` the trained
    one: a generator's and a discriminator's step can share what `prepare` gives.
    """

    def __init__(self, features: Features, *, dim: int = 96, size_px: int = 96) -> None:
        super().__init__()
        self._frozen = [features]  # a list, so that it is no submodule: not trained, not saved
        self.size_px = size_px
        self.heads = nn.ModuleList(
            logit_head(channels, dim, 2 if MULTIPLE_PX >> (3 - i) <= FINE_STRIDE else 1)
            for i, channels in enumerate(features.taps.values())
        )
        channels = list(features.taps.values())[POSITION_TAP]
        side = size_px // (MULTIPLE_PX >> (3 - POSITION_TAP))
        self.position = nn.Sequential(
            nn.Conv2d(channels, 64, 1),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            nn.Linear(64 * side * side, 1),
        )

    def prepare(self, patches: Tensor) -> tuple[Tensor, ...]:
        """The frozen features of the patches, one map a tap."""
        taps: tuple[Tensor, ...] = self._frozen[0](patches, self.size_px)
        return taps

    def forward(self, prepared: tuple[Tensor, ...]) -> tuple[list[Tensor], Tensor]:
        """What `prepare` gave -> (float32 logits [N,K] of every head, position [N])."""
        device = prepared[0].device.type
        low = prepared[0].dtype
        with torch.autocast(device, dtype=low, enabled=low != torch.float32):
            logits = [
                head(tap).float().flatten(1) for head, tap in zip(self.heads, prepared, strict=True)
            ]
        with torch.autocast(device, enabled=False):
            position = self.position(prepared[POSITION_TAP].float())[:, 0]
        return logits, position
