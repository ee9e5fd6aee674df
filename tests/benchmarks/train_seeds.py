"""Train one recipe from many seeds and tell whether every one stayed a number.

    python tests/benchmarks/train_seeds.py photographs --recipe tiny --seeds 20 --out seeds

Each seed is a run of its own under OUT, so that the script, too, resumes where it was stopped; one
line a seed, and a last one that counts.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from infinite_render.errors import TrainingError
from infinite_render.training import events
from infinite_render.training.loop import train
from infinite_render.training.recipes import load_recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=Path("seeds"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    failed = 0
    for seed in range(given.seeds):
        recipe = dataclasses.replace(load_recipe(given.recipe), seed=seed, images=given.images)
        last: dict[str, float] = {}
        try:
            for event in train(given.data, recipe, given.out / f"seed-{seed:02d}"):
                last = event.terms if isinstance(event, events.Progress) else last
        except TrainingError as error:
            failed += 1
            print(f"seed {seed}: {error}", flush=True)
            continue
        told = " ".join(f"{name} {value:.3g}" for name, value in last.items())
        print(f"seed {seed}: {given.images} images, {told}", flush=True)
    print(
        f"{given.seeds - failed} of {given.seeds} seeds without a NaN, {given.images} images each"
    )


if __name__ == "__main__":
    main()
