"""`infrender evaluate`: models, and other systems' pictures, against a folder of photographs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from infinite_render.cli import console
from infinite_render.cli.options import (
    FILE,
    Whole,
    cores,
    device_option,
    example,
    kept_on_stop,
    option,
    precision_option,
    quiet_option,
    seed_option,
    truncation_option,
    workers_option,
)

PARTS = ("patches", "scales", "seams", "repetition", "memory")


@click.command(
    epilog=example(
        "infrender evaluate landscape photographs",
        "infrender evaluate landscape photographs --only patches --samples 1000 --json -",
    )
)
@click.argument("model")
@click.argument("data", type=FILE)
@option(
    "--against", multiple=True, metavar="NAME|DIR", help="Another model, for a column beside it."
)
@option("--images", type=FILE, multiple=True, help="A folder of another system's pictures.")
@option(
    "--scale",
    type=Whole(1),
    multiple=True,
    help="How many times the training size the pictures of --images are; once for each folder.",
)
@option("--samples", type=Whole(16, such_as=5000), default=5000, show_default=True, help="Patches.")
@option(
    "--scales",
    default="1,2,4,8,16",
    show_default=True,
    help="ScaleInv distances: multiples of the training size.",
)
@option(
    "--scale-samples",
    type=Whole(4, such_as=250),
    default=250,
    show_default=True,
    help="Frames rendered at each scale.",
)
@option(
    "--protocol",
    type=click.Choice(["antialiased", "reference"]),
    default="antialiased",
    show_default=True,
    help="How frames are shrunk; reference: plain bilinear sampling, as the paper's program did.",
)
@option(
    "--ladder/--no-ladder",
    default=True,
    show_default=True,
    help="Paint frames as generate does, at the depth of their height; or else at depth 0.",
)
@option("--bands", type=Whole(1, such_as=3), default=3, show_default=True, help="Vertical bands.")
@option("--only", type=click.Choice(PARTS), multiple=True, help="Measure this part; repeatable.")
@option("--inception", type=FILE, default=None, help="Standard Inception weights: true FID.")
@option("--held-out", type=FILE, default=None, help="Photographs that training did not see.")
@option(
    "--image-px",
    type=Whole(16, such_as=101),
    default=None,
    help="Height training gave the photographs.  [default: what the model says]",
)
@truncation_option
@option("--json", "json_to", default=None, metavar="FILE|-", help="Also write the figures as JSON.")
@option("--markdown", is_flag=True, help="Print the table as Markdown, for a model's card.")
@option(
    "--cache",
    type=FILE,
    default=None,
    help="Where the photographs' features are kept.  [default: the user's cache folder]",
)
@seed_option
@workers_option
@device_option
@precision_option
@quiet_option
def evaluate(
    model: str,
    data: Path,
    against: tuple[str, ...],
    images: tuple[Path, ...],
    scale: tuple[int, ...],
    scales: str,
    only: tuple[str, ...],
    truncation: float | None,
    ladder: bool,
    image_px: int | None,
    json_to: str | None,
    markdown: bool,
    cache: Path | None,
    workers: int | None,
    quiet: bool,
    **measured: Any,
) -> None:
    """Hold MODEL against the photographs under DATA, and print a table of figures.

    Distances are Frechet and kernel distances on EfficientNet-Lite0 features, lower is better. Two
    columns are floors: other crops of the same photographs, and one half of them against the other.
    """
    from infinite_render.errors import UsageError
    from infinite_render.evaluation.evaluate import PARTS as PARTS_KNOWN
    from infinite_render.evaluation.evaluate import Settings, Subject
    from infinite_render.evaluation.evaluate import evaluate as run
    from infinite_render.evaluation.images import ImageFolder
    from infinite_render.evaluation.painters import ModelPainter, view_of
    from infinite_render.evaluation.report import Report
    from infinite_render.files import replace_file
    from infinite_render.models import load_model

    if len(images) != len(scale):
        raise UsageError(f"{len(images)} --images and {len(scale)} --scale; give one for each")
    settings = Settings(
        **measured,
        parts=tuple(part for part in PARTS_KNOWN if part in (only or PARTS)),
        scales=_numbers(scales),
        workers=workers or cores(),
        cache=cache or _user_cache(),
    )
    subjects: list[Subject] = []
    for name in (model, *against):
        found = load_model(name)
        view = view_of(found, image_px)
        where = settings.precision, settings.device
        subjects.append(ModelPainter(found, view, *where, truncation, ladder))
    subjects += [ImageFolder(*pair) for pair in zip(images, scale, strict=True)]

    reports: list[Report] = []

    def steps() -> Iterator[object]:
        reports.append((yield from run(subjects, data, settings)))

    with kept_on_stop("stopped; no figure was written, and the photographs' features are kept"):
        console.follow(steps(), quiet=quiet)
    report = reports[0]
    if json_to == "-":
        click.echo(report.to_json(), nl=False)
        return
    if json_to is not None:
        replace_file(Path(json_to), lambda path: path.write_text(report.to_json(), "utf-8"))
    if markdown:
        click.echo(report.markdown(), nl=False)
        return
    console.columns(report.table(), title=report.title())
    for subject in report.subjects:
        for note in subject.notes:
            console.notice(f"{subject.name}: {note}", quiet=quiet)
    console.summary(f"{model}: measured in {report.seconds:.0f} s", quiet=quiet)


def _numbers(text: str) -> tuple[int, ...]:
    from infinite_render.errors import UsageError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--scales {text} is not a list of whole numbers; try 1,2,4") from None


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "infrender"
