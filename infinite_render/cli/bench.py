"""`infrender bench`: how fast this machine paints with a model, against what bounds it."""

from __future__ import annotations

import json

import click

from infinite_render.cli import console
from infinite_render.cli.options import (
    Whole,
    cores,
    example,
    model_option,
    option,
    precision_option,
    workers_option,
)


@click.command(epilog=example("infrender bench", "infrender bench --blocks 4 --json"))
@model_option
@option("--depth", type=Whole(0, such_as=0), default=0, show_default=True, help="Of the plane.")
@option("--blocks", type=Whole(1, such_as=8), default=8, show_default=True, help="To be painted.")
@workers_option
@precision_option
@option("--json", "as_json", is_flag=True, help="Print the figures as JSON, nothing else.")
def bench(
    model: str, depth: int, blocks: int, workers: int | None, precision: str, as_json: bool
) -> None:
    """Measure rendering, with and without a TIFF, against the convolutions alone."""
    from infinite_render.benchmark import benchmark
    from infinite_render.models import load_model
    from infinite_render.precision import choose_precision
    from infinite_render.rendering.workers import machine

    precision = choose_precision(precision)
    about = {
        "model": model,
        "depth": depth,
        "precision": precision,
        "workers": workers or cores(),
        "machine": machine(),
    }
    figures = list(
        benchmark(
            load_model(model),
            depth=depth,
            workers=workers or cores(),
            precision=precision,
            blocks=blocks,
        )
    )
    if as_json:
        click.echo(json.dumps(about | {figure.name: figure.value for figure in figures}, indent=2))
        return
    title = ", ".join(f"{key} {value}" for key, value in about.items())
    rows = [(f.name, f"{f.value:.3g} {f.unit}".strip(), f.meaning) for f in figures]
    console.columns([("figure", "value", "what it is"), *rows], title=title)
