"""A local edit: the latents of a box are drawn again, and nothing changes beyond their reach.

python examples/05_edit.py
"""

from __future__ import annotations

import numpy as np

from infinite_render.fields.latents import SeededLatents
from infinite_render.fields.reseeded import Reseed, ReseededLatents
from infinite_render.geometry import Window
from infinite_render.models import load_model
from infinite_render.rendering.scene import Scene


def main(margin_px: int = 200) -> bool:
    """Whether a picture and its edit differ inside the box's reach, and there alone."""
    model = load_model("landscape")
    box = Reseed(Window(y=4, x=20, height=2, width=2), seed=8)  # in cells of latents
    before = Scene(model, seed=7)
    after = Scene(model, latents=ReseededLatents(SeededLatents(7), (box,)))

    reach = before.plan(depth=0).affected(box.window_cell)  # in pixels of the plane
    print(f"the box reaches {reach.width} x {reach.height} px from {reach.y},{reach.x}")
    y, x, height, width = reach
    window = (y - margin_px, x - margin_px, height + 2 * margin_px, width + 2 * margin_px)
    changed = before.render(*window) != after.render(*window)
    inside = changed[margin_px:-margin_px, margin_px:-margin_px].copy()
    changed[margin_px:-margin_px, margin_px:-margin_px] = False
    return bool(inside.any() and not np.any(changed))


if __name__ == "__main__":
    print(main())
