"""Two photographs on one canvas, and what lies between them.

python examples/08_inbetween.py LEFT RIGHT
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyvips

from infinite_render.fields.pins import Pin
from infinite_render.inversion.base import choose_depth
from infinite_render.inversion.invert import invert
from infinite_render.inversion.row import horizon_of, lay_out
from infinite_render.models import load_model
from infinite_render.rendering.around import Pinned, scene_around
from infinite_render.rendering.photographs import read_photograph


def main(left: Path, right: Path, folder: Path = Path(), steps: int = 500) -> Path:
    """Paint what lies between two photographs, on a canvas as wide as twice both."""
    model = load_model("landscape")
    photographs = [read_photograph(path) for path in (left, right)]
    height = max(pixels.shape[0] for pixels in photographs)
    width = 2 * sum(pixels.shape[1] for pixels in photographs)
    depth = choose_depth(model.recipe, height)

    # Their horizons lie in one row. The first finds its column of the plane, the next keeps to it.
    row = lay_out(model, photographs, (height, width), depth)
    pinned: list[Pinned] = []
    for index, pixels in enumerate(photographs):
        shift = pinned[0].pin.shift_cell if pinned else None
        *_, pin = invert(
            model,
            pixels,
            place_px=row.places_px[index],
            depth=depth,
            shift_cell=shift,
            horizon_px=None if pinned else horizon_of(model, row, index, depth),
            steps=steps,
        )
        assert isinstance(pin, Pin)
        pinned.append(Pinned(pin, pixels))

    canvas = scene_around(model, pinned).render(0, 0, height, width, depth=depth, workers=2)
    path = folder / "inbetween.png"
    pyvips.Image.new_from_array(canvas, interpretation="srgb").write_to_file(str(path))
    return path


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2])))
