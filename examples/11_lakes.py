"""A model that paints lakes: level water that mirrors what stands behind it.

    pip install -e '.[skies]'
    python examples/11_lakes.py MODEL OUT STEPS SHORE_STEPS SEED
    python examples/11_lakes.py run/model WITH_LAKES

MODEL must be dry so far. Where its lakes lie, a latent of their own tells (`nn/lakes.py`); in STEPS
the map from what is mirrored to water learns from frames of its own that were flooded by rule
(`training/waters.py`), then in SHORE_STEPS the far shores learn to be edges (`training/shores.py`).
All other weights stay as they are. The model in the box got its lakes so (its card tells how), and
is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from infinite_render.models import load_model, save_with_weights
from infinite_render.precision import DTYPES, choose_precision
from infinite_render.training.shores import teach_shores
from infinite_render.training.waters import teach_water, with_lakes


def main(name: str, folder: Path, steps: int = 600, shore_steps: int = 900, seed: int = 0) -> Path:
    """Save the model `name`, with lakes taught in `steps` and `shore_steps`, in `folder`."""
    dry = load_model(name)
    model = with_lakes(dry)
    dtype = DTYPES[choose_precision("auto")]
    learn("water", steps, teach_water(dry, model, steps, seed, dtype))
    learn("shores", shore_steps, teach_shores(model, shore_steps, seed, dtype))
    return save_with_weights(folder, model, model.generator.state_dict())


def learn(what: str, steps: int, lesson: Iterator[float]) -> None:
    """Go through a lesson, telling how far away its frames are."""
    for step, loss in enumerate(lesson):
        print(f"{what}: step {step + 1} of {steps}: {loss:.4f}", end="\r", flush=True)
    print()


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:6])))
