"""What styles are modulated by: their latents, truncated, and of mixed ones the mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infinite_render.fields.styles import AnyStyle, MixedStyle, PinnedStyle, Style
from infinite_render.nn.texture import COARSE
from infinite_render.nn.truncation import Truncation


def latents_of(styles: Sequence[AnyStyle], truncation: Truncation) -> tuple[Tensor, Tensor]:
    """z_g [K,D] and w [K,entries,D] of K styles; truncated but for those of pins.

    Float32, on the generator's device.
    """
    device = next(truncation.generator.parameters()).device
    plain = _plain(styles)
    z_of: dict[AnyStyle, Tensor] = {}
    w_of: dict[AnyStyle, Tensor] = {}
    if plain:
        dim = truncation.generator.texture.mapping.dim
        z_drawn = torch.from_numpy(np.stack([_z_global(style, dim) for style in plain]))
        kept = torch.tensor([style.kept for style in plain], device=device)
        z_global, w = truncation.latents(z_drawn.to(device), kept)
        z_of |= zip(plain, z_global, strict=True)
        w_of |= zip(plain, w, strict=True)
    for style in styles:
        if isinstance(style, MixedStyle):
            z_of[style] = z_of[style.coarse]
            fine = torch.zeros_like(w_of[style.coarse], dtype=torch.float64)
            for other, share in style.fine:
                fine += share * w_of[other].double()
            w_of[style] = torch.cat([w_of[style.coarse][:COARSE], fine.float()[COARSE:]])
        elif isinstance(style, PinnedStyle):
            z_of[style], w_of[style] = (torch.from_numpy(each).to(device) for each in style.values)
    return (
        torch.stack([z_of[style] for style in styles]),
        torch.stack([w_of[style] for style in styles]),
    )


def _plain(styles: Sequence[AnyStyle]) -> list[Style]:
    """The styles that are drawn, those that are mixed among them, each once."""
    found: list[Style] = []
    for style in styles:
        if isinstance(style, Style):
            found.append(style)
        elif isinstance(style, MixedStyle):
            found += [style.coarse, *(other for other, _ in style.fine)]
    return list(dict.fromkeys(found))


@lru_cache(maxsize=4096)  # neighbouring blocks share many of their styles
def _z_global(style: Style, dim: int) -> NDArray[np.float32]:
    return style.z_global(dim)
