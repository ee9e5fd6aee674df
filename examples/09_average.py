"""A model between two of the same training: the mean of their weights.

    python examples/09_average.py FIRST SECOND OUT 0.6
    python examples/09_average.py FIRST SECOND OUT 0.65 0.3

Where one was trained on from the other, what lies between them often paints as well as either, and
much of what only one of them does wrong goes (weight averaging: Izmailov et al., UAI 2018; Wortsman
et al., ICML 2022). The model in the box is such a mean; its card tells of which. Look at what it
paints: no theory says that it must. A second number is SECOND's share in the structure synthesizer:
what stands where is its doing; how it looks, the texture synthesizer's.
"""

from __future__ import annotations

import sys
from pathlib import Path

from infinite_render.errors import ModelError
from infinite_render.models import load_model, save_with_weights


def main(
    first: str, second: str, folder: Path, share: float = 0.5, structure: float | None = None
) -> Path:
    """Save (1 - share) of FIRST's weights and `share` of SECOND's; all else is SECOND's.

    `structure` is SECOND's share in the structure synthesizer; None: `share` there, too.
    """
    shares = {"structure": share if structure is None else structure, "texture": share}
    one, two = load_model(first), load_model(second)
    weights, others = one.generator.state_dict(), two.generator.state_dict()
    shapes = [{name: tensor.shape for name, tensor in each.items()} for each in (weights, others)]
    if shapes[0] != shapes[1]:
        raise ModelError(f"{first} and {second} have other sizes; average models of one training")
    mean = {}
    for name, tensor in others.items():
        share = shares.get(name.split(".")[0], 1.0)  # all floors are SECOND's
        mean[name] = weights[name].double().lerp(tensor.double(), share).to(tensor.dtype)
    return save_with_weights(folder, two, mean)


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), *map(float, sys.argv[4:6])))
