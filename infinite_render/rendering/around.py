"""The scene around pinned photographs: pins and a seed -> latents, styles, coordinates, pixels.

Spaces: px of the plane of the pins' depth, cells of the local latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from infinite_render.errors import UsageError
from infinite_render.fields.continued import ContinuedLatents
from infinite_render.fields.latents import SeededLatents
from infinite_render.fields.pinned_styles import styles_between
from infinite_render.fields.pins import Pin
from infinite_render.models import Model
from infinite_render.rendering.pinned import Photograph
from infinite_render.rendering.scene import Scene


class Pinned(NamedTuple):
    """A photograph uint8 [h,w,3], and the pin that repaints it and says where it lies."""

    pin: Pin
    pixels: NDArray[np.uint8]


def scene_around(model: Model, pinned: Sequence[Pinned], *, seed: int = 0, **given: Any) -> Scene:
    """The plane of `seed` with the photographs pinned on it; `given` goes on to `Scene`.

    The plane's rows stand where the pins' do on average, and its columns where the first one's do.
    Raises UsageError for a pin of another model or of another picture, and what `Scene` raises.
    """
    for pin, pixels in pinned:
        if pin.model_digest != model.digest:
            raise UsageError(
                f"a pin was made with another model ({pin.model_digest[:12]}) than {model.name} "
                f"({model.digest[:12]}); name that one, or invert the photograph again"
            )
        if pin.size_px != pixels.shape[:2]:
            height, width = pin.size_px
            raise UsageError(
                f"a pin repaints a photograph of {width} x {height} px, not this one of "
                f"{pixels.shape[1]} x {pixels.shape[0]} px; invert this one"
            )
    photographs = [Photograph(pixels, pin.place_px, pin.depth) for pin, pixels in pinned]
    for (pin, _), photograph in zip(pinned, photographs, strict=True):
        if pin.photograph_sha256 not in ("", photograph.sha256):
            raise UsageError(
                f"a pin repaints another photograph ({pin.photograph_sha256[:12]}) than this one "
                f"({photograph.sha256[:12]}); invert this one"
            )
    pins = tuple(pin for pin, _ in pinned)
    down = sum(pin.shift_cell[0] for pin in pins) / len(pins)
    return Scene(
        model,
        latents=ContinuedLatents(SeededLatents(seed), pins),
        styles=styles_between(pins),
        shift_cell=(down, pins[0].shift_cell[1]),
        photographs=photographs,
        **given,
    )
