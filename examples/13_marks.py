"""A model nearer to your taste: mark pictures of its own, and it keeps from what you dislike.

    infrender generate --model MODEL --style-drift 0 --seed 6000 --width 512 --height 128 6000.png
    python examples/13_marks.py MODEL OUT marks.csv 0.8 [KEY]

marks.csv begins with a line that names its columns, `judge,seed` and one or more faults of your own
naming. Then comes a line a picture: who judges, its seed, how much it has of each fault, from 0,
nothing, to 3, so much that it is broken. Some hundreds of lines tell which latents to keep from
(`training/marks.py`): 0.8 of all are moved to where the best are; 0.8,0.2 is a share for each of
two faults. KEY says what floors are of: `floors`, all of a style; `coarse_floors`, which leave
light and colours as they are; `layout_floors`, what stands where; `drift_floors`, what drifts of
local latents, in any style. All weights that paint stay as they are, and the floors are named as
the faults are. The model in the box has floors by the marks in `examples/marks`; its card tells
how.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from infinite_render.config import FLOORS
from infinite_render.errors import UsageError
from infinite_render.models import load_model, save_with_weights
from infinite_render.training.marks import read_marks, with_marks


def main(
    name: str, folder: Path, marks: Path, shares: Sequence[float] = (0.8,), key: str = "floors"
) -> Path:
    """Save the model `name`, with floors of what marks tell, in `folder`."""
    if key not in FLOORS:
        raise UsageError(f"no floors are called {key}; give one of {', '.join(FLOORS)}")
    model = load_model(name)
    liked = with_marks(model, read_marks(marks), shares, key)
    return save_with_weights(folder, liked, liked.generator.state_dict())


if __name__ == "__main__":
    name, folder, marks, shares, *key = sys.argv[1:]
    print(main(name, Path(folder), Path(marks), [float(each) for each in shares.split(",")], *key))
