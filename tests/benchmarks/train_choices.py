"""Train the choices for small data against each other at equal time, and tell their distances.

    python tests/benchmarks/train_choices.py photographs --minutes 60 --samples 5000 --out choices

Every choice is the recipe `default` with one thing changed. It is trained for the same seconds of
processor time (what the steps took, checkpoints and sheets included), then its averaged generator
is held against the photographs, both shrunk to the patches of `default`. The table is Markdown, for
the recipe's card; the sheets to look at are in OUT/CHOICE/sheets.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import torch

from infinite_render.evaluation.quality import training_quality
from infinite_render.models import load_model
from infinite_render.training.loop import train
from infinite_render.training.recipes import CriticConfig, TrainRecipe, load_recipe


def choices() -> dict[str, TrainRecipe]:
    """The recipes to compare, by what each changes."""
    default = load_recipe("default")
    plain_loss = dataclasses.replace(
        default.loss, adversarial="logistic", r1=10.0, r1_every=16, path=0.0
    )
    residual = dataclasses.replace(
        default,
        critic=CriticConfig(kind="residual", dims=(32, 64, 128, 128, 128)),
        loss=plain_loss,
        adam=dataclasses.replace(default.adam, critic_rate=0.002),
    )
    bare = dataclasses.replace(default.augment, probability=0.0)
    return {
        "default": default,
        "no-augmentation": dataclasses.replace(default, augment=bare),
        "residual": residual,
        "residual-no-augmentation": dataclasses.replace(residual, augment=bare),
        "fakes-not-shared": dataclasses.replace(default, shared_fakes=False),
        "no-diversity": dataclasses.replace(
            default, loss=dataclasses.replace(default.loss, diversity=0.0)
        ),
        "float32": dataclasses.replace(default, precision="float32"),
        "patch-101": dataclasses.replace(
            default,
            generator=dataclasses.replace(default.generator, texture_dims=(128, 96, 64, 32)),
            data=dataclasses.replace(default.data, image_px=197),
        ),
    }


def after(seconds: float) -> Callable[[], bool]:
    """Whether this process has worked that long since now."""
    end = time.process_time() + seconds
    return lambda: time.process_time() > end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--only", nargs="*", default=None)
    parser.add_argument("--out", type=Path, default=Path("choices"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    seen_px = load_recipe("default").generator.patch_px
    print(f"| choice | images in {given.minutes:g} min | Frechet distance |\n|---|---|---|")
    for name, recipe in choices().items():
        out = given.out / name
        if given.only and name not in given.only:
            continue
        done = out / "done"
        if not done.is_file():  # a choice that is done is only measured again
            never = dataclasses.replace(recipe, images=10**9)
            list(train(given.data, never, out, should_stop=after(60 * given.minutes)))
            done.touch()
        model = load_model(out / "model")
        images = model.recipe.trained["images"]
        distance = training_quality(
            given.data,
            recipe.generator,
            recipe.data.image_px,
            samples=given.samples,
            cache=given.out / "features",
            seen_px=seen_px,
        )
        print(f"| {name} | {images:,} | {distance(model.generator):.2f} |", flush=True)


if __name__ == "__main__":
    main()
