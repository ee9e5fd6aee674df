"""A canvas larger than memory: painted into an OME-Zarr store, read by the window, then exported.

    python examples/03_store.py

Stop it at any moment and start it again: the blocks that are there are not painted twice.
"""

from __future__ import annotations

from pathlib import Path

from infinite_render.geometry import Window
from infinite_render.models import load_model
from infinite_render.rendering.canvas import Canvas, paint_canvas
from infinite_render.rendering.exports import export_store
from infinite_render.rendering.scene import Scene
from infinite_render.rendering.store import open_store


def main(folder: Path = Path(), height: int = 4096, width: int = 16384) -> Path:
    """Paint a store, look at the middle of it, and write it as a pyramidal TIFF."""
    scene = Scene(load_model("landscape"), seed=7)
    canvas = Canvas(scene, Window(0, 0, height, width))
    for progress in paint_canvas(canvas, folder / "wall.zarr", workers=2):
        print(f"{progress.phase}: {progress.done_px / progress.total_px:.0%}")

    with open_store(folder / "wall.zarr") as store:
        middle = store.read(height // 2, width // 2, height // 4, width // 4)
        print(f"the mean colour of the middle is {middle.mean(axis=(0, 1)).round()}")
        description = canvas.recipe.to_json()
        for rows in export_store(store, folder / "wall.tif", description=description):
            print(f"written: {rows.done} of {rows.total} rows")
    return folder / "wall.tif"


if __name__ == "__main__":
    print(main())
