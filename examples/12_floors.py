"""A model that is kept from painting a void for its ground, or level streaks for its far land.

    pip install -e '.[skies]'
    python examples/12_floors.py KIND MODEL OUT FRAMES SEED
    python examples/12_floors.py ground run/model NO_VOID
    python examples/12_floors.py level NO_VOID NO_STREAKS 4800

How light the ground is, and how finely drawn, is nearly linear in the style w; how little of far
land is smeared into level streaks, in the structure's z_g. FRAMES of the model's own tell how
(`training/grounds.py`, `training/levels.py`), and what reads too low in truncated latents is moved
up (`nn/floors.py`). All weights that paint stay as they are. The model in the box has these floors
and is refused; its card tells how it got them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from infinite_render.errors import UsageError
from infinite_render.models import load_model, save_with_weights
from infinite_render.precision import DTYPES, choose_precision
from infinite_render.training.floors import Seen, joined
from infinite_render.training.grounds import look_at_grounds, with_grounds
from infinite_render.training.levels import look_at_levels, with_levels

KINDS = {"ground": (look_at_grounds, with_grounds), "level": (look_at_levels, with_levels)}


def main(kind: str, name: str, folder: Path, frames: int = 2400, seed: int = 0) -> Path:
    """Save the model `name`, with floors of a kind found by `frames` of its own, in `folder`."""
    if kind not in KINDS:
        raise UsageError(f"no floors are of kind {kind}; give one of {', '.join(KINDS)}")
    if frames < 1:
        raise UsageError(f"frames = {frames} must be 1 or more; some thousands tell floors")
    look_at, with_found = KINDS[kind]
    model = load_model(name)
    batches: list[Seen] = []
    for batch in look_at(model, frames, seed, DTYPES[choose_precision("auto")]):
        batches.append(batch)
        done = sum(len(each.latents) for each in batches)
        print(f"frame {done} of {frames}", end="\r", flush=True)
    print()
    floored = with_found(model, joined(batches))
    return save_with_weights(folder, floored, floored.generator.state_dict())


if __name__ == "__main__":
    kind, name, folder, *counts = sys.argv[1:]
    print(main(kind, name, Path(folder), *map(int, counts)))
