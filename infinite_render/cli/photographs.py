"""What the commands share that paint around photographs: pins, found or kept, and canvases.

Places are X,Y in px of the canvas for the user, (y, x) everywhere else; the canvas is the window of
the plane from (0, 0).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infinite_render.cli import console
from infinite_render.cli.options import Command, Whole, kept_on_stop, option
from infinite_render.cli.painting import check_painting
from infinite_render.errors import OutputError, UsageError

if TYPE_CHECKING:
    from infinite_render.fields.pins import Pin
    from infinite_render.models import Model
    from infinite_render.pixels import Pixels

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "": 1.0}


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A time: `90`, `90s`, `5m`, `1.5h`; in seconds."""

    name = "LIMIT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        text = str(value).strip()
        number = text.rstrip("smhin")
        try:
            seconds = float(number) * _UNITS[text[len(number) :]]
        except (KeyError, ValueError):
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            name = "value" if param is None else param.opts[-1]
            raise UsageError(f"{name} {value} is no time; give seconds, or try 5m")
        return seconds


def inversion_options(command: Command) -> Command:
    """How a photograph is inverted."""
    for add in reversed(
        [
            option(
                "--steps",
                type=Whole(1, such_as=600, unit="steps"),
                default=None,
                help="Of an inversion.  [default: 600]",
            ),
            option(
                "--time", type=Duration(), default=None, help="End an inversion by then: 90s, 5m."
            ),
            option(
                "--preview", is_flag=True, help="Show beside OUT how far an inversion has come."
            ),
        ]
    ):
        command = add(command)
    return command


@dataclass(frozen=True)
class Inverting:
    """A step of an inversion, as `console` draws it."""

    done: int
    total: int
    terms: dict[str, float]


@dataclass(frozen=True)
class Aim:
    """A photograph, the pin that is wanted for it, and where it is kept.

    name        of the photograph's file; pixels uint8 [h,w,3]
    place_px    (y, x) of its first pixel on the canvas, of `depth`
    pin_path    is read where there is one, else written
    like        what `invert` takes: horizon_px or shift_cell
    """

    name: str
    pixels: Pixels
    place_px: tuple[int, int]
    depth: int
    pin_path: Path
    like: dict[str, Any]


def check_targets(
    out: Path, size_px: tuple[int, int], pin_paths: Sequence[Path], given: dict[str, Any]
) -> None:
    """Refuse, before a photograph is inverted, what could not be painted after that."""
    from infinite_render.rendering.canvas import store_of
    from infinite_render.rendering.exports import check_form, plan_bytes
    from infinite_render.rendering.pyramid import check_compression
    from infinite_render.rendering.targets import check_target

    check_painting(given)
    form = check_form(out, *size_px)
    check_compression(given["compression"])
    kept = all(path.is_file() for path in pin_paths)
    check_target(out, plan_bytes(form, *size_px), overwrite=given["overwrite"] or kept)
    for path in pin_paths:
        check_target(path, 0, overwrite=True)
    store = store_of(out, given["store"])
    if not kept and not given["overwrite"] and store.exists():
        raise OutputError(f"{store} is there without its pin; --overwrite paints it anew")


def pin_of(model: Model, aim: Aim, out: Path, given: dict[str, Any], *, anew: bool) -> Pin:
    """The pin of a photograph at its place: kept from before unless `anew`, or found and kept.

    Raises UsageError for a kept one that is of something else, proposing the nearest place.
    """
    from infinite_render.fields.pins import load_pin, save_pin

    if aim.pin_path.is_file() and not anew:
        pin = load_pin(aim.pin_path)
        _check_kept(model, aim, pin)
        line = f"{aim.pin_path} repaints {aim.name}; with --overwrite it would be inverted again"
        console.notice(line, quiet=given["quiet"])
        dy, dx = (a - b for a, b in zip(aim.place_px, pin.place_px, strict=True))
        return pin.moved((dy // pin.cell_px, dx // pin.cell_px))
    began = time.monotonic()
    found: list[Pin] = []
    with kept_on_stop(
        "stopped; an inversion is kept when it has ended, and --time ends one in time"
    ):
        last = console.follow(_inverted(model, aim, out, given, found), quiet=given["quiet"])
    save_pin(aim.pin_path, found[-1])
    psnr = last.terms["PSNR"] if isinstance(last, Inverting) else float("nan")
    line = (
        f"{aim.name}: repainted at {psnr:.1f} dB in {time.monotonic() - began:.0f} s, "
        f"kept in {aim.pin_path}"
    )
    console.notice(line, quiet=given["quiet"])
    return found[-1]


def _inverted(
    model: Model, aim: Aim, out: Path, given: dict[str, Any], found: list[Pin]
) -> Iterator[object]:
    """The events of an inversion; the pin is put into `found`."""
    from infinite_render.fields.pins import Pin
    from infinite_render.inversion.invert import STEPS, InversionProgress, invert

    for event in invert(
        model,
        aim.pixels,
        place_px=aim.place_px,
        depth=aim.depth,
        steps=given["steps"] or STEPS,
        time_limit_s=given["time"],
        precision=given["precision"],
        **aim.like,
    ):
        if isinstance(event, InversionProgress):
            if given["preview"]:
                _save_preview(out.with_suffix(".preview.png"), event.preview)
            yield Inverting(event.step, event.steps, {"loss": event.loss, "PSNR": event.psnr_db})
        elif isinstance(event, Pin):
            found.append(event)
        else:
            yield event


def _save_preview(path: Path, preview: Pixels) -> None:
    from infinite_render.files import replace_file
    from infinite_render.rendering.pyramid import vips

    image = vips().Image.new_from_array(preview)
    replace_file(path, lambda target: image.pngsave(str(target)))


def _check_kept(model: Model, aim: Aim, pin: Pin) -> None:
    from infinite_render.pixels import pixels_sha256

    where, change = aim.pin_path, "give --pin another name, or --overwrite to invert again"
    if pin.model_digest != model.digest:
        raise UsageError(f"{where} was made with another model than {model.name}; {change}")
    if pin.photograph_sha256 != pixels_sha256(aim.pixels):
        raise UsageError(f"{where} repaints another photograph than {aim.name}; {change}")
    if pin.depth != aim.depth:
        raise UsageError(f"{where} is of depth {pin.depth}, not {aim.depth}; {change}")
    fitting = tuple(
        round((place - own) / pin.cell_px) * pin.cell_px + own
        for place, own in zip(aim.place_px, pin.place_px, strict=True)
    )
    if fitting != aim.place_px:
        y, x = aim.place_px
        raise UsageError(
            f"--at {x},{y} does not fit {where}, which can be moved by whole cells of latents "
            f"({pin.cell_px} px); try --at {fitting[1]},{fitting[0]}"
        )
