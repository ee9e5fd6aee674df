"""A model whose ground is no void: styles that paint it black or blank are kept from it.

    pip install -e '.[skies]'
    python examples/12_floors.py MODEL OUT FRAMES SEED
    python examples/12_floors.py run/model WITH_FLOORS

How light the ground is, and how finely drawn, is nearly linear in the style w. FRAMES of the
model's own tell how (`training/floors.py`), and truncated styles that read too low are moved up
(`nn/floors.py`). All weights that paint stay as they are. The model in the box has floors (its card
tells which), and is refused.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from infinite_render.models import load_model, save_with_weights
from infinite_render.precision import DTYPES, choose_precision
from infinite_render.training.floors import Seen, look_at_frames, with_floors


def main(name: str, folder: Path, frames: int = 2400, seed: int = 0) -> Path:
    """Save the model `name`, with floors found by `frames` of its own, in `folder`."""
    model = load_model(name)
    dtype = DTYPES[choose_precision("auto")]
    batches: list[Seen] = []
    for batch in look_at_frames(model, frames, seed, dtype):
        batches.append(batch)
        done = sum(len(each.w) for each in batches)
        print(f"frame {done} of {frames}", end="\r", flush=True)
    print()
    floored = with_floors(model, Seen(*(torch.cat(each) for each in zip(*batches, strict=True))))
    return save_with_weights(folder, floored, floored.generator.state_dict())


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:5])))
