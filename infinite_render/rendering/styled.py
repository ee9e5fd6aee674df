"""The compiled networks of a scene: for a window of cells, those of the styles that hold there.

Where one style holds, they are the plain folded ones of that style, the same as for a scene of that
style alone; where styles meet, the blended ones. Which of the two follows from the window and the
style field alone, so that a pixel does not depend on what was painted around it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

import torch

from infinite_render.fields.styles import AnyStyle, Blend, StyleField
from infinite_render.geometry import Window
from infinite_render.nn.truncation import Truncation
from infinite_render.rendering.blended import (
    BlendedBlock,
    BlendedStructure,
    BlendedTexture,
    blend_structure,
    blend_texture,
)
from infinite_render.rendering.compiled import (
    CompiledStructure,
    CompiledTexture,
    compile_generator,
)
from infinite_render.rendering.style_latents import latents_of

_KEPT = 8  # sets of styles whose compiled weights are kept: a new one takes 1 to 2 ms

T = TypeVar("T")
Structure = CompiledStructure | BlendedStructure
Texture = CompiledTexture | BlendedTexture


class StyledNetworks:
    """The generator compiled for the styles of a field, as they are asked for.

    Safe from several threads of `SingleThreads`; `radius` is the structure's.
    """

    def __init__(
        self,
        truncation: Truncation,
        styles: StyleField,
        *,
        radius: int,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        self._generator, self._styles = truncation.generator, styles
        self._truncation = truncation
        self._radius, self._dtype, self._device = radius, dtype, device
        self._kept: OrderedDict[tuple[str, tuple[AnyStyle, ...]], Any] = OrderedDict()
        self._lock = Lock()

    def structure(self, latent_window: Window) -> Structure:
        """The structure synthesizer over a window of z_l, in cells."""
        blend = self._styles.blend(latent_window)
        if blend.is_one:
            return self._plain(blend)[0]
        network = self._generator.structure
        layers = self._once(
            "structure",
            blend,
            lambda: blend_structure(network, self._latents(blend)[0], self._dtype),
        )
        nodes = torch.from_numpy(blend.shares).to(self._device)
        return BlendedStructure(layers, nodes, latent_window, self._radius, network.coordinates)

    def texture(self, window_cell: Window) -> Texture:
        """The texture synthesizer over a window of z_s, in cells."""
        blend = self._styles.blend(window_cell)
        if blend.is_one:
            return self._plain(blend)[1]
        blocks = self._once("texture", blend, lambda: self._blended_texture(blend))
        nodes = torch.from_numpy(blend.shares).to(self._device)
        return BlendedTexture(blocks, nodes, window_cell)

    def _plain(self, blend: Blend) -> tuple[CompiledStructure, CompiledTexture]:
        def compiled() -> tuple[CompiledStructure, CompiledTexture]:
            z_global, w = self._latents(blend)
            return compile_generator(self._generator, z_global[0], w[0], self._dtype)

        return self._once("plain", blend, compiled)

    def _blended_texture(self, blend: Blend) -> tuple[BlendedBlock, ...]:
        return blend_texture(self._generator.texture, self._latents(blend)[1], self._dtype)

    def _latents(self, blend: Blend) -> tuple[torch.Tensor, torch.Tensor]:
        """z_g [K,D] and w [K,entries,D] of a blend's styles."""
        return latents_of(blend.styles, self._truncation)

    def _once(self, what: str, blend: Blend, compiled: Callable[[], T]) -> T:
        """What was compiled for these styles before, or is now."""
        key = what, blend.styles
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                kept: T = self._kept[key]
                return kept
        made = compiled()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return made
