"""The detail ladder's discriminator: is this patch, at this zoom, a piece of a photograph?

Two judges, both spectrally normalised and asked position by position, without padding:
    pixels    the patch and its own detail (what halving it loses), by polyphase: pixels of the four
              parities are channels of their own, so that a grid of period 2, which no low-pass
              can see, is a difference between channels
    features  small heads on frozen EfficientNet-Lite0 taps of the patch's centre, enlarged twice
Each gives maps of logits; a head's channels weighted by an embedding of the zoom are added to them.
Shapes: rgb [N,3,h,w] in [-1, 1], from an even pixel; zoom int64 [N]; logits [N,K] of each head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from infinite_render.nn.features import Features
from infinite_render.nn.ops import activate
from infinite_render.nn.scale import double, halve

DETAIL_GAIN = 10.0  # the detail of photographs is about a tenth of their contrast
LOGIT_GAIN = 3.0
FEATURE_TAPS = 3  # of four: strides 4, 8 and 16
OVERSHOOT = 1.1  # rgb is clamped to +- this before the frozen features

Prepared = list[tuple[Tensor, Tensor]]  # what each head reads, and the zooms of its samples


class Head(nn.Module):
    """Convolutions, then a logit a place, with the zoom's own weights on the last channels."""

    def __init__(self, convolutions: list[nn.Conv2d], zooms: int) -> None:
        super().__init__()
        dim = convolutions[-1].out_channels
        self.body = nn.ModuleList(spectral_norm(conv) for conv in convolutions)
        self.logit = spectral_norm(nn.Conv2d(dim, 1, 1))
        self.zoom = nn.Embedding(zooms, dim)
        nn.init.zeros_(self.zoom.weight)

    def forward(self, x: Tensor, zoom: Tensor) -> Tensor:
        """x [N,C,h,w] -> float32 logits [N,K]."""
        for conv in self.body:
            x = activate(conv(x))
        own = (x.float() * self.zoom(zoom)[:, :, None, None]).mean(dim=1, keepdim=True)
        logits: Tensor = LOGIT_GAIN * self.logit(x).float() + own
        return logits.flatten(1)


class DetailCritic(nn.Module):
    """Patches -> logits of every head; `features=None` leaves the judge of pixels alone.

    `prepare` is the frozen part (gradients reach the patches through it), `forward` the trained
    one: the two steps of training can share what `prepare` gives.
    """

    def __init__(
        self,
        zooms: int,
        *,
        features: Features | None,
        dims: tuple[int, int] = (48, 96),
        head_dim: int = 64,
        features_px: int = 128,
        features_rows: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self._frozen = [] if features is None else [features]  # a list: not trained, not saved
        self.features_px = features_px
        self.features_rows = features_rows  # the dearer judge sees the last so many; None: all
        self.dtype = dtype
        fine, coarse = dims
        pixels = [
            nn.Conv2d(24, fine, 3),
            nn.Conv2d(fine, fine, 3),
            nn.Conv2d(fine, coarse, 4, 2),
            nn.Conv2d(coarse, coarse, 3),
            nn.Conv2d(coarse, coarse, 3),
        ]
        heads = [Head(pixels, zooms)]
        if features is not None:
            for channels in list(features.taps.values())[:FEATURE_TAPS]:
                convolutions = [nn.Conv2d(channels, head_dim, 1), nn.Conv2d(head_dim, head_dim, 3)]
                heads.append(Head(convolutions, zooms))
        self.heads = nn.ModuleList(heads)

    def prepare(self, rgb: Tensor, zoom: Tensor) -> Prepared:
        """What each head reads of rgb [N,3,h,w] at `zoom` [N]."""
        prepared = [(polyphase(rgb), zoom)]
        if self._frozen:
            side = self.features_px // 2
            rows = len(rgb) if self.features_rows is None else self.features_rows
            top, left = (rgb.shape[2] - side) // 2, (rgb.shape[3] - side) // 2
            patch = rgb[-rows:, :, top : top + side, left : left + side]
            patch = patch.clamp(-OVERSHOOT, OVERSHOOT)
            enlarged = F.interpolate(patch, scale_factor=2, mode="bicubic")
            taps = self._frozen[0](enlarged, self.features_px)[:FEATURE_TAPS]
            prepared += [(tap, zoom[-rows:]) for tap in taps]
        return prepared

    def forward(self, prepared: Prepared) -> list[Tensor]:
        """What `prepare` gave -> float32 logits [N,K] of every head."""
        device, low = prepared[0][0].device.type, self.dtype
        with torch.autocast(device, dtype=low, enabled=low != torch.float32):
            return [head(x, zoom) for head, (x, zoom) in zip(self.heads, prepared, strict=True)]


def polyphase(rgb: Tensor) -> Tensor:
    """A patch and its detail, the four parities of its pixels as channels: [N,24,h',w'].

    h' = (h - 13) // 2 for odd h.
    """
    low = double(halve(rgb))
    height, width = low.shape[2], low.shape[3]
    inner = rgb[:, :, 6 : 6 + height, 6 : 6 + width]
    both = torch.cat([inner, DETAIL_GAIN * (inner - low)], dim=1)
    return F.pixel_unshuffle(both[:, :, : height // 2 * 2, : width // 2 * 2], 2)
