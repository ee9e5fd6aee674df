"""A model nearer to your taste: mark pictures of its own, and it keeps from styles you dislike.

    infrender generate --model MODEL --style-drift 0 --seed 6000 --width 512 --height 128 6000.png
    python examples/13_marks.py MODEL OUT marks.csv 0.8

marks.csv holds a line `judge,seed,mark` and then a mark a line: 0 for a picture that could not be
better, 3 for one that is broken. Some hundreds of them tell which styles to keep from
(`training/marks.py`): 0.8 of all are moved to where the best are. All weights that paint stay as
they are, and the floor is named as its file is. The model in the box has floors by the marks in
`examples/marks`; its card tells how.
"""

from __future__ import annotations

import sys
from pathlib import Path

from infinite_render.models import load_model, save_with_weights
from infinite_render.training.marks import read_marks, seen_by_marks, with_marks


def main(name: str, folder: Path, marks: Path, share: float = 0.8) -> Path:
    """Save the model `name`, with a floor of what marks tell, in `folder`."""
    model = load_model(name)
    liked = with_marks(model, marks.stem, seen_by_marks(model, read_marks(marks)), share)
    return save_with_weights(folder, liked, liked.generator.state_dict())


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), *map(float, sys.argv[4:5])))
