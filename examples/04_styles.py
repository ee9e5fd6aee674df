"""Styles meet on one plane: each holds around its own place, and they blend in between.

python examples/04_styles.py
"""

from __future__ import annotations

from pathlib import Path

import pyvips

from infinite_render.fields.styles import Points, Style, StyledPoint
from infinite_render.models import load_model
from infinite_render.rendering.scene import Scene


def main(folder: Path = Path(), height: int = 1024, width: int = 4096) -> Path:
    """Save a window with the styles of the planes 7, 8 and 9 from left to right."""
    model = load_model("landscape")
    cell_px = model.recipe.generator.stride  # places of fields are in cells, at every depth
    points = [
        StyledPoint(height / 2 / cell_px, width * place / cell_px, Style(seed))
        for seed, place in ((7, 0.17), (8, 0.5), (9, 0.83))
    ]
    styles = Points(tuple(points), fade=width / 4 / cell_px)
    picture = Scene(model, seed=7, styles=styles).render(0, 0, height, width, workers=2)
    path = folder / "three-styles.png"
    pyvips.Image.new_from_array(picture, interpretation="srgb").write_to_file(str(path))
    return path


if __name__ == "__main__":
    print(main())
