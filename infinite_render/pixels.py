"""Pictures as bytes: from whatever libvips has read to sRGB, and the name of their content.

Shapes: pixels uint8 [h,w,3].
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def pixels_sha256(pixels: Pixels) -> str:
    """Of the bytes of a picture, in hex."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
