"""A photograph is kept bit for bit, and the plane goes on around it.

python examples/07_outpaint.py PHOTOGRAPH
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyvips

from infinite_render.fields.pins import save_pin
from infinite_render.inversion.base import choose_depth
from infinite_render.inversion.invert import InversionProgress, invert
from infinite_render.models import load_model
from infinite_render.rendering.around import Pinned, scene_around
from infinite_render.rendering.photographs import read_photograph


def main(photograph: Path, folder: Path = Path(), steps: int = 500) -> Path:
    """Paint around a photograph to twice its width, on two planes."""
    model = load_model("landscape")
    pixels = read_photograph(photograph)
    height, width, _ = pixels.shape
    depth = choose_depth(model.recipe, height)
    cell_px = model.recipe.generator.stride << depth
    x = width // 2 // cell_px * cell_px  # on the lattice, so that the pin can lie elsewhere, too

    # What repaints the photograph; its pin is small, and does for any seed and any canvas.
    for found in invert(model, pixels, place_px=(0, x), depth=depth, steps=steps):
        if isinstance(found, InversionProgress):
            print(f"step {found.step} of {found.steps}: {found.psnr_db:.1f} dB")
            pin = found.pin
    save_pin(folder / "photograph.pin", pin)

    draws = []
    for seed in (0, 1):
        scene = scene_around(model, [Pinned(pin, pixels)], seed=seed)
        canvas = scene.render(0, 0, height, 2 * width, depth=depth, workers=2)
        assert (canvas[:, x : x + width] == pixels).all()
        draws.append(pyvips.Image.new_from_array(canvas, interpretation="srgb"))
    path = folder / "outpainted.png"
    pyvips.Image.arrayjoin(draws, across=1).write_to_file(str(path))
    return path


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
