"""Pictures as bytes: from what libvips has read or a network has painted, and their content's name.

Shapes: pixels uint8 [h,w,3].
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[np.uint8]  # [h,w,3]


def srgb_pixels(image: Any) -> Pixels:
    """A pyvips image in sRGB's colours, 8 or 16 bit -> uint8 [h,w,3].

    Grey becomes three equal channels, alpha is laid over white. Raises pyvips.Error when what is
    read is damaged.
    """
    if image.format == "ushort" and image.interpretation not in ("rgb16", "grey16"):
        image = image.copy(interpretation="rgb16" if image.bands >= 3 else "grey16")
    image = image.colourspace("srgb")
    if image.hasalpha():
        image = image.flatten(background=255)
    if image.bands < 3:
        image = image.extract_band(0).bandjoin([image.extract_band(0)] * 2)
    pixels: Pixels = image.extract_band(0, n=3).cast("uchar").numpy()
    return pixels


def to_uint8(rgb: Tensor) -> Pixels:
    """RGB float32 [3,h,w] in [-1, 1], clipped -> uint8 [h,w,3], rounded half to even."""
    grey = rgb.clamp(-1, 1).add_(1).mul_(127.5).round_().byte()
    pixels: Pixels = grey.permute(1, 2, 0).contiguous().cpu().numpy()
    return pixels


def pixels_sha256(pixels: Pixels) -> str:
    """Of the bytes of a picture, in hex."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
