"""A window of a window is that window, bit for bit, wherever on the plane it lies.

    python examples/02_window.py

A pixel is a function of the seed and its position alone: to enlarge a picture, or to look at a
detail of one that was never painted as a whole, ask for another window.
"""

from __future__ import annotations

import numpy as np

from infinite_render.models import load_model
from infinite_render.rendering.scene import Scene

FAR_Y, FAR_X = 10**12, -(10**12)


def main(height: int = 1024, width: int = 2048) -> bool:
    """Compare a detail, a million million pixels away, with the large window around it."""
    scene = Scene(load_model("landscape"), seed=7)
    large = scene.render(FAR_Y, FAR_X, height, width, workers=2)

    y, x = height // 3, width // 3  # across cells, and on no lattice of them
    detail = scene.render(FAR_Y + y, FAR_X + x, height // 4, width // 4)

    return np.array_equal(detail, large[y : y + height // 4, x : x + width // 4])


if __name__ == "__main__":
    print("the same bits" if main() else "not the same")
