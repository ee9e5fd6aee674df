"""`infrender train-detail`: the detail ladder of a model, from a folder of photographs."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import click

from infinite_render.cli import console
from infinite_render.cli.options import (
    FILE,
    Whole,
    device_option,
    example,
    model_option,
    option,
    quiet_option,
)


@click.command(
    name="train-detail",
    epilog=example("infrender train-detail photographs --model landscape --out detail-run"),
)
@click.argument("data", type=FILE)
@model_option
@option("--out", type=FILE, default=Path("detail-run"), show_default=True, help="The run's folder.")
@option("--recipe", type=FILE, default=None, help="TOML of a DetailRecipe; else its defaults.")
@option("--images", type=Whole(1), default=None, help="Patches to show in all.")
@option(
    "--no-model", is_flag=True, help="Learn from the photographs alone; put the ladder nowhere."
)
@option("--allow-changed-data", is_flag=True, help="Go on with other photographs than it began.")
@device_option
@quiet_option
def train_detail(
    data: Path,
    model: str,
    out: Path,
    recipe: Path | None,
    images: int | None,
    no_model: bool,
    allow_changed_data: bool,
    device: str,
    quiet: bool,
) -> None:
    """Train a model's detail ladder on the photographs under DATA, and put it into the model.

    To stop, press Ctrl-C; to resume, run the same command again.
    """
    import torch

    from infinite_render.config import parse_toml
    from infinite_render.errors import RecipeError
    from infinite_render.models import load_model
    from infinite_render.rendering.workers import choose_device
    from infinite_render.training import events
    from infinite_render.training.detail import install_detail
    from infinite_render.training.detail import train_detail as run
    from infinite_render.training.detail_recipe import DetailRecipe

    place = torch.device(choose_device(device))
    chosen = DetailRecipe()
    if recipe is not None:
        if not recipe.is_file():
            raise RecipeError(f"--recipe {recipe} does not exist; give a TOML file")
        chosen = parse_toml(DetailRecipe, recipe.read_text("utf-8"), str(recipe))
    if images is not None:
        chosen = dataclasses.replace(chosen, images=images)
    base = None if no_model else load_model(model)
    with asked_to_stop() as should_stop:
        last = console.follow(
            run(
                data,
                chosen,
                out,
                base=base,
                device=place,
                allow_changed_data=allow_changed_data,
                should_stop=should_stop,
            ),
            "training the ladder",
            quiet=quiet,
        )
    if not isinstance(last, events.Finished):
        raise KeyboardInterrupt(f"stopped; {out} holds a checkpoint, the same command goes on")
    if base is None:
        console.summary(f"{last.model}: {chosen.images:,} patches shown", quiet=quiet)
    else:
        folder = install_detail(out, model)
        console.summary(
            f"{folder}: its ladder was shown {chosen.images:,} patches; try generate --model "
            f"{folder} --depth 3",
            quiet=quiet,
        )


@contextlib.contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM came: a run then ends with a checkpoint; a second ends at once."""
    came: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, note)
    try:
        yield lambda: bool(came)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
