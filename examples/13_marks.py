"""A model nearer to your taste: mark pictures of its own, and it keeps from styles you dislike.

    infrender generate --seed 6000 --style-drift 0 --width 512 --height 128 6000.png
    python examples/13_marks.py MODEL OUT marks.csv 0.8

marks.csv holds a line `judge,seed,mark` and then a mark a line: 0 for a picture that could not be
better, 3 for one that is broken. Some hundreds of them tell which styles to keep from
(`training/marks.py`): 0.8 of all are moved to where the best are. All weights that paint stay as
they are. In `examples/marks` are those that the model in the box was given: of whole pictures, and
of level streaks alone, which it is kept from with 0.95.
"""

from __future__ import annotations

import sys
from pathlib import Path

from infinite_render.models import load_model, save_with_weights
from infinite_render.training.marks import read_marks, seen_by_marks, with_marks


def main(name: str, folder: Path, marks: Path, share: float = 0.8) -> Path:
    """Save the model `name`, with a floor of what marks tell, in `folder`."""
    model = load_model(name)
    liked = with_marks(model, seen_by_marks(model, read_marks(marks)), share)
    return save_with_weights(folder, liked, liked.generator.state_dict())


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), *map(float, sys.argv[4:5])))
