"""A model that paints less afloat in its skies: taught by its own pictures, mended.

    pip install -e '.[skies]'
    python examples/10_clear_skies.py MODEL OUT FRAMES STEPS SEED
    python examples/10_clear_skies.py landscape ONCE
    python examples/10_clear_skies.py ONCE TWICE 6400 300 1

FRAMES are painted, most of them truncated as `generate` does and about the horizon; in these the
sky around takes the place of what floats (`training/skies.py`), and in STEPS the structure
synthesizer learns it (`training/lessons.py`). SEED draws other latents. The model in the box was
taught so twice, from the one before it; its card tells of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from infinite_render.models import load_model, save_with_weights
from infinite_render.precision import DTYPES, choose_precision
from infinite_render.training.lessons import BATCH, Frame, frames_recipe, painted_frames, teach


def main(name: str, folder: Path, count: int = 6_400, steps: int = 300, seed: int = 0) -> Path:
    """Save the model `name`, taught by `count` of its frames in `steps` steps, in `folder`.

    Frames are painted by batches of 32, the last one whole.
    """
    model = load_model(name)
    recipe = frames_recipe(model, seed)
    frames: list[Frame] = []
    for images in range(0, count, BATCH):
        frames += painted_frames(model, recipe, images)
        print(f"{len(frames)} of {count} frames", end="\r", flush=True)
    print(f"{sum(f.mended.any() for f in frames)} of {len(frames)} frames were mended")
    lesson = teach(model.generator, recipe, frames, steps, DTYPES[choose_precision("auto")])
    for step, loss in enumerate(lesson):
        print(f"step {step + 1} of {steps}: {loss:.4f}", end="\r", flush=True)
    print()
    return save_with_weights(folder, model, model.generator.state_dict())


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:6])))
