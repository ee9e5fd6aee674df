"""`infrender train`: a generator from a folder of photographs."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infinite_render.cli import console
from infinite_render.cli.options import (
    FILE,
    Whole,
    cores,
    device_option,
    example,
    option,
    quiet_option,
)
from infinite_render.errors import InfrenderError

if TYPE_CHECKING:
    import torch

    from infinite_render.training.recipes import TrainRecipe


@click.command(
    epilog=example(
        "infrender train photographs --recipe tiny --out run",
        "infrender train photographs --from landscape --images 4000000 --out longer",
        "torchrun --nproc-per-node 2 -m infinite_render train photographs --out run",
    )
)
@click.argument("data", type=FILE)
@option(
    "--recipe",
    default="default",
    show_default=True,
    metavar="NAME|FILE",
    help="A shipped recipe (default, tiny, paper, paper-hr, paper-ur ...) or a TOML file.",
)
@option("--out", type=FILE, default=Path("run"), show_default=True, help="The run's folder.")
@option(
    "--from",
    "start",
    default=None,
    metavar="NAME|DIR",
    help="A model whose weights a new run begins with.",
)
@option("--images", type=Whole(1), default=None, help="Patches to show in all.")
@option("--seed", type=Whole(0, 2**63 - 1), default=None, help="Another seed than the recipe's.")
@option("--threads", type=Whole(1, 4096), default=None, help="Of one process.  [default: cores]")
@option("--allow-changed-data", is_flag=True, help="Go on with other photographs than it began.")
@option("--no-quality", is_flag=True, help="Measure no Frechet distance at every interval.")
@option("--dry-run", is_flag=True, help="Tell speed, memory and time of the recipe here.")
@device_option
@quiet_option
def train(data: Path, **given: Any) -> None:
    """Train a generator on the photographs under DATA, and write a model folder.

    To stop, press Ctrl-C: a checkpoint is written. To resume, run the same command again.
    """
    try:
        _train(data, **given)
    except InfrenderError as error:
        if os.environ.get("RANK", "0") != "0":  # the first process says it for all
            sys.exit(error.exit_code)
        raise


def _train(
    data: Path,
    recipe: str,
    out: Path,
    start: str | None,
    images: int | None,
    seed: int | None,
    threads: int | None,
    allow_changed_data: bool,
    no_quality: bool,
    dry_run: bool,
    device: str,
    quiet: bool,
) -> None:
    import torch

    from infinite_render.cli.train_detail import asked_to_stop
    from infinite_render.rendering.workers import choose_device
    from infinite_render.training import events
    from infinite_render.training.data import list_photographs
    from infinite_render.training.distributed import join, leave
    from infinite_render.training.loop import train as run
    from infinite_render.training.recipes import load_recipe
    from infinite_render.training.runs import images_shown

    chosen = load_recipe(recipe)
    if images is not None:
        chosen = dataclasses.replace(chosen, images=images)
    if seed is not None:
        chosen = dataclasses.replace(chosen, seed=seed)
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    place = torch.device(choose_device(device))
    torch.set_num_threads(threads or max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))
    list_photographs(data, without=out)  # its mistakes before the work of measuring
    if dry_run:
        _tell_plan(chosen, place, images_shown(out, start))
        return
    ranks = join(place)
    quiet = quiet or not ranks.writes
    quality = None if no_quality or not ranks.writes else _quality(data, chosen, device)
    try:
        with asked_to_stop() as should_stop:
            last = console.follow(
                run(
                    data,
                    chosen,
                    out,
                    device=place,
                    ranks=ranks,
                    start=start,
                    allow_changed_data=allow_changed_data,
                    should_stop=should_stop,
                    quality=quality,
                ),
                "training",
                quiet=quiet,
            )
    finally:
        leave()
    if isinstance(last, events.Stopped) and last.images == 0:
        raise KeyboardInterrupt("stopped while reading photographs; the same command begins again")
    if isinstance(last, events.Stopped):
        raise KeyboardInterrupt(
            f"stopped at {last.images:,} images; {out} holds a checkpoint, "
            "and the same command resumes"
        )
    if isinstance(last, events.Finished):
        console.summary(
            f"{last.model}: {last.images:,} images shown; try infrender generate --width 2048 "
            f"--height {chosen.data.image_px} --model {last.model} strip.png",
            quiet=quiet,
        )


def _quality(data: Path, recipe: TrainRecipe, device: str) -> Callable[[Any], float] | None:
    """What measures the generator every interval; the photographs too, when it is first asked."""
    from infinite_render.evaluation.quality import training_quality

    if recipe.quality_samples == 0 or recipe.generator.padding:
        return None

    @functools.cache
    def measure() -> Callable[[Any], float]:
        return training_quality(
            data,
            recipe.generator,
            recipe.data.image_px,
            samples=recipe.quality_samples,
            device=device,
        )

    return lambda generator: measure()(generator)


def _tell_plan(recipe: TrainRecipe, device: torch.device, shown: int) -> None:
    """Print what training would take here; `shown` of its images have been already."""
    from infinite_render.training.speed import estimate

    plan = estimate(recipe, device)
    left = max(0, recipe.images - shown)
    hours = plan.seconds * left / recipe.images / 3600
    rows: list[tuple[str, object]] = [
        ("recipe", f"{recipe.name}: {recipe.about}"),
        ("patches", f"{recipe.generator.patch_px} px of images {recipe.data.image_px} px high"),
        ("generator", f"{plan.generator_parameters / 1e6:.2f} M parameters"),
        ("discriminator", f"{plan.critic_parameters / 1e6:.2f} M parameters trained"),
        ("precision", f"{plan.precision} on {device}"),
        ("speed", f"{plan.images_per_s:.2f} images/s, batch {recipe.batch}"),
        ("memory", f"{plan.memory_bytes / 2**30:.2f} GiB at the peak"),
        (
            "time",
            f"about {hours:.1f} h for {left:,} images" + (f" after {shown:,}" if shown else ""),
        ),
    ]
    console.table(rows, title=f"The plan of recipe {recipe.name}; nothing is written")
