"""The truncation trick: latents drawn nearer to their mean (Karras et al. 2019, appendix B).

psi = 1 leaves latents as they are drawn, but for styles that say they keep less; less gives up
variety for pictures that are surer. The style is pulled towards the mean style, w' = mean + psi (w
- mean), once it is no farther from it than a share psi of all styles: their distances have a long
tail, and odd colours lie there; then it is moved up to the generator's floors. The latents of the
structure are pulled towards their own mean of 0: z_g, up to its floors, here, z_l, up to those of
its drift, where it is drawn (`fields.local`). Training may show patches truncated alike
(`training.painting`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from infinite_render.nn.generator import Generator
from infinite_render.nn.texture import COARSE
from infinite_render.noise import Stream, normal

TRUNCATION_VERSION = 7  # in truncated pictures' identity: this file, floors, what is left of z_l
_STYLES = 4096  # that stand for all
_STYLES_SEED = 0


@dataclass(frozen=True)
class Truncation:
    """How far the latents of a generator lie from their mean."""

    generator: Generator
    psi: float = 1.0

    @torch.no_grad()
    def latents(self, z_global: Tensor, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z_g [N,D] -> what the structure is modulated by [N,D], and w [N,styles,D].

        `kept` [N], by default 1, is how much each keeps of what truncation leaves of its distance
        from the mean, before floors move it up. At psi = 1 there are no floors, and those that keep
        all are the generator's, bit for bit.
        """
        w = self.generator.style(z_global)
        kept = torch.ones(len(w), device=w.device) if kept is None else kept
        if self.psi == 1.0 and bool((kept == 1).all()):
            return z_global, w
        nearer = self.nearer(w, kept)
        if self.psi == 1.0:
            nearer = torch.where(kept[:, None, None] == 1, w, nearer)
        return self.psi * self.layout(kept[:, None] * z_global), nearer

    def layout(self, z_global: Tensor) -> Tensor:
        """z_g [N,D] before it is taken nearer; at psi < 1 up to the floors of layouts."""
        floors = self.generator.layout_floors
        return z_global if floors is None or self.psi == 1.0 else floors(z_global)

    def nearer(self, w: Tensor, kept: Tensor | None = None) -> Tensor:
        """Styles [N,styles,D] taken nearer to their mean, and up to the generator's floors.

        `kept` [N] as for `latents`. No gradient goes through mean and limit.
        """
        mean, limit = self._usual
        away = w - mean.to(w)
        distance = away.double().norm(dim=-1, keepdim=True)
        part = self.psi * (limit / distance).clamp(max=1)
        if kept is not None:
            part = part * kept[:, None, None]
        nearer: Tensor = mean.to(w) + part.to(w) * away
        return nearer if self.psi == 1.0 else self._raised(nearer)

    def _raised(self, w: Tensor) -> Tensor:
        """Styles [N,styles,D] up to the generator's floors, coarse ones then up to theirs."""
        floors, of_coarse = self.generator.floors, self.generator.coarse_floors
        w = w if floors is None else floors(w)
        if of_coarse is None:
            return w
        return torch.cat([of_coarse(w[:, :COARSE]), w[:, COARSE:]], dim=1)

    @cached_property
    def _usual(self) -> tuple[Tensor, Tensor]:
        """The mean style [D] and the distance from it within which a share psi of all styles lies.

        In float64, so that they do not hang on the order of a sum.
        """
        mapping = self.generator.texture.mapping
        z = normal(_STYLES_SEED, Stream.STYLE, 0, 0, 1, _STYLES, mapping.dim)[:, 0].T
        with torch.no_grad():
            like = next(self.generator.texture.parameters())  # a mapping may have no layers
            w = mapping(torch.from_numpy(z.copy()).to(like)).double()
        mean = w.mean(dim=0)
        return mean, (w - mean).norm(dim=-1).quantile(self.psi)
