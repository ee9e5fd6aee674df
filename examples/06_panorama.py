"""A panorama all around: a cylinder whose left edge continues its right edge.

python examples/06_panorama.py
"""

from __future__ import annotations

from pathlib import Path

from infinite_render.fields.styles import Anchors
from infinite_render.geometry import Window
from infinite_render.models import load_model
from infinite_render.rendering.canvas import Canvas, paint_canvas
from infinite_render.rendering.scene import Scene


def main(folder: Path = Path(), height: int = 512, width: int = 4096) -> Path:
    """Save a cylinder with a new style every quarter of its round, as a pyramidal TIFF."""
    model = load_model("landscape")
    cells = width // model.recipe.generator.stride  # the period, in cells of latents
    styles = Anchors(seed=7, spacing=cells / 4)
    scene = Scene(model, seed=7, styles=styles, wrap_cells=cells)
    path = folder / "panorama.tif"
    for progress in paint_canvas(Canvas(scene, Window(0, 0, height, width)), path, workers=2):
        print(f"{progress.phase}: {progress.done_px / progress.total_px:.0%}")
    return path


if __name__ == "__main__":
    print(main())
