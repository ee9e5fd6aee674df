"""A picture is a window of an endless plane: ask for its pixels, and save them.

python examples/01_render.py
"""

from __future__ import annotations

from pathlib import Path

import pyvips

from infinite_render.models import load_model
from infinite_render.rendering.scene import Scene


def main(folder: Path = Path(), height: int = 1024, width: int = 4096) -> Path:
    """Save a window of the plane of seed 7 as a PNG."""
    scene = Scene(load_model("landscape"), seed=7)
    picture = scene.render(0, 0, height, width, workers=2)  # uint8 [height, width, 3]
    path = folder / "seed-7.png"
    pyvips.Image.new_from_array(picture, interpretation="srgb").write_to_file(str(path))
    return path


if __name__ == "__main__":
    print(main())
