"""A model between two of the same training: the mean of their weights.

    python examples/09_average.py FIRST SECOND OUT 0.6

Where one was trained on from the other, what lies between them often paints as well as either, and
much of what only one of them does wrong goes (weight averaging: Izmailov et al., UAI 2018; Wortsman
et al., ICML 2022). The model in the box is such a mean; its card tells of which. Look at what it
paints: no theory says that it must.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path

from infinite_render.errors import ModelError
from infinite_render.models import DETAIL, load_model, save_model


def main(first: str, second: str, folder: Path, share: float = 0.5) -> Path:
    """Save (1 - share) of FIRST's weights and `share` of SECOND's; all else is SECOND's."""
    one, other = load_model(first), load_model(second)
    weights, others = one.generator.state_dict(), other.generator.state_dict()
    shapes = [{name: tensor.shape for name, tensor in each.items()} for each in (weights, others)]
    if shapes[0] != shapes[1]:
        raise ModelError(f"{first} and {second} have other sizes; average models of one training")
    mean = {
        name: weights[name].double().lerp(others[name].double(), share).to(others[name].dtype)
        for name in others
    }
    saved = save_model(folder, dataclasses.replace(other.recipe, name=folder.name), mean)
    if other.detail is not None:
        shutil.copy(other.folder / DETAIL, saved)
    return saved


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), float(sys.argv[4])))
