"""A model that paints lakes: level water that mirrors what stands behind it.

    pip install -e '.[skies]'
    python examples/11_lakes.py MODEL OUT STEPS SEED
    python examples/11_lakes.py run/model WITH_LAKES

MODEL must be dry so far. Where its lakes lie, a latent of their own tells (`nn/lakes.py`); in STEPS
the map from what is mirrored to water learns from frames of its own that were flooded by rule
(`training/waters.py`). All other weights stay as they are. The model in the box got its lakes so
(its card tells how), and is refused.
"""

from __future__ import annotations

import sys
from pathlib import Path

from infinite_render.models import load_model, save_with_weights
from infinite_render.precision import DTYPES, choose_precision
from infinite_render.training.waters import teach_water, with_lakes


def main(name: str, folder: Path, steps: int = 600, seed: int = 0) -> Path:
    """Save the model `name`, with lakes whose water was taught in `steps`, in `folder`."""
    dry = load_model(name)
    model = with_lakes(dry)
    dtype = DTYPES[choose_precision("auto")]
    for step, loss in enumerate(teach_water(dry, model, steps, seed, dtype)):
        print(f"step {step + 1} of {steps}: {loss:.4f}", end="\r", flush=True)
    print()
    return save_with_weights(folder, model, model.generator.state_dict())


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:5])))
