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
    from infinite_render.inversion.row import Row
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


def check_names(
    photographs: Sequence[Path], out: Path, pin_paths: Sequence[Path], given: dict[str, Any]
) -> None:
    """Refuse what would be written over a photograph, or over something else that is written."""
    taken = {path.resolve(): "a photograph" for path in photographs}
    written = [("the picture", out), *(("a pin", path) for path in pin_paths)]
    if given["preview"]:
        written.append(("the preview", _preview_of(out)))
    for what, path in written:
        if (other := taken.get(path.resolve())) is not None:
            raise UsageError(f"{path} is {other} and cannot be {what} too; choose another name")
        taken[path.resolve()] = what


def check_targets(
    out: Path, size_px: tuple[int, int], pin_paths: Sequence[Path], given: dict[str, Any]
) -> None:
    """Refuse, before a photograph is inverted, what could not be painted after that."""
    from infinite_render.rendering.canvas import store_of
    from infinite_render.rendering.exports import STORE, check_form, plan_bytes
    from infinite_render.rendering.pyramid import check_compression
    from infinite_render.rendering.store import open_store
    from infinite_render.rendering.targets import check_target
    from infinite_render.rendering.workers import choose_device

    choose_device(given["device"])
    check_painting(given)
    form = check_form(out, *size_px)
    check_compression(given["compression"])
    kept = all(path.is_file() for path in pin_paths)
    need = plan_bytes(form, *size_px, given["compression"])
    check_target(out, need, overwrite=given["overwrite"] or kept)
    for path in pin_paths:
        check_target(path, 0, overwrite=True)
    store, asked = store_of(out, given["store"]), given["store"]
    if asked is not None and form is STORE:
        raise UsageError(f"--store {asked} is of no use: {out} is the store itself; leave it")
    if store.exists():
        open_store(store).close()  # a StoreError where it is none of ours: never removed
        if not kept and not given["overwrite"]:
            raise OutputError(f"{store} is there without its pin; --overwrite paints it anew")
    elif not kept:
        check_target(store, plan_bytes(STORE, *size_px))


def pin_of(model: Model, aim: Aim, out: Path, given: dict[str, Any], *, anew: bool) -> Pin:
    """The pin of a photograph at its place: kept from before unless `anew`, or found and kept.

    Raises UsageError for a kept one that is of something else.
    """
    from infinite_render.fields.pins import load_pin, save_pin

    if aim.pin_path.is_file() and not anew:
        pin = load_pin(aim.pin_path)
        check_kept(model, aim, pin, given)
        again = "" if given.get("pin") else "; with --overwrite it would be inverted again"
        console.notice(f"{aim.pin_path} repaints {aim.name}{again}", quiet=given["quiet"])
        dy, dx = (a - b for a, b in zip(aim.place_px, pin.place_px, strict=True))
        return pin.moved((dy // pin.cell_px, dx // pin.cell_px))
    began = time.monotonic()
    found: list[Pin] = []
    begun = aim.pin_path.with_name(f".{aim.pin_path.name}.begun")
    with kept_on_stop(
        lambda: (
            f"stopped; the inversion is kept in {begun}, and the same command goes on with it"
            if begun.is_file()
            else "stopped; nothing was found yet"
        )
    ):
        events = _inverted(model, aim, out, given, begun, found)
        last = console.follow(events, quiet=given["quiet"])
    save_pin(aim.pin_path, found[-1])
    begun.unlink(missing_ok=True)
    psnr = last.terms["PSNR"] if isinstance(last, Inverting) else float("nan")
    line = (
        f"{aim.name}: repainted at {psnr:.1f} dB in {time.monotonic() - began:.0f} s, "
        f"kept in {aim.pin_path}"
    )
    console.notice(line, quiet=given["quiet"])
    return found[-1]


def _inverted(
    model: Model, aim: Aim, out: Path, given: dict[str, Any], begun: Path, found: list[Pin]
) -> Iterator[object]:
    """The events of an inversion whose state is kept in `begun`; the pin is put into `found`."""
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
        kept=begun,
        **aim.like,
    ):
        if isinstance(event, InversionProgress):
            if given["preview"]:
                _save_preview(_preview_of(out), event.preview)
            yield Inverting(event.step, event.steps, {"loss": event.loss, "PSNR": event.psnr_db})
        elif isinstance(event, Pin):
            found.append(event)
        else:
            yield event


def _preview_of(out: Path) -> Path:
    return out.with_suffix(".preview.png")


def _save_preview(path: Path, preview: Pixels) -> None:
    from infinite_render.files import replace_file
    from infinite_render.rendering.pyramid import vips

    image = vips().Image.new_from_array(preview)
    replace_file(path, lambda target: image.pngsave(str(target)))


def _nearest_place(place_px: tuple[int, int], pin: Pin) -> tuple[int, int]:
    """The place (y, x) nearest to another to which whole cells of latents bring a pin."""
    y, x = (
        round((place - own) / pin.cell_px) * pin.cell_px + own
        for place, own in zip(place_px, pin.place_px, strict=True)
    )
    return y, x


def on_kept_pins(
    row: Row, photographs: Sequence[Pixels], size_px: tuple[int, int], pin_paths: Sequence[Path]
) -> Row:
    """The row with each photograph that has a pin brought to the nearest place the pin can be at.

    So pins that were found for one canvas (height, width) do for others.
    """
    from infinite_render.fields.pins import load_pin

    places_px = list(row.places_px)
    for number, path in enumerate(pin_paths):
        if path.is_file():
            pin = load_pin(path)
            nearest = _nearest_place(places_px[number], pin)
            free_px = [
                size - own for size, own in zip(size_px, photographs[number].shape[:2], strict=True)
            ]
            y, x = (  # a cell back where the nearest place leaves the canvas
                place + pin.cell_px * ((place < 0) - (place > free))
                for place, free in zip(nearest, free_px, strict=True)
            )
            if 0 <= y <= free_px[0] and 0 <= x <= free_px[1]:
                places_px[number] = (y, x)
    return row._replace(places_px=tuple(places_px))


def check_kept(model: Model, aim: Aim, pin: Pin, given: dict[str, Any]) -> None:
    """UsageError for a kept pin that is of something else, proposing the nearest place."""
    from infinite_render.inversion.base import horizon_shift
    from infinite_render.pixels import pixels_sha256

    where, change = aim.pin_path, "give OUT another name, or --overwrite to invert again"
    if "pin" in given:  # a pin that was named is not made anew
        change = "give --pin another name"
        change += "" if given["pin"] else ", or --overwrite to invert again"
    if pin.model_digest != model.digest:
        raise UsageError(f"{where} was made with another model than {model.name}; {change}")
    if pin.photograph_sha256 != pixels_sha256(aim.pixels):
        raise UsageError(f"{where} repaints another photograph than {aim.name}; {change}")
    if pin.depth != aim.depth:
        raise UsageError(f"{where} is of depth {pin.depth}, not {aim.depth}; {change}")
    y, x = _nearest_place(aim.place_px, pin)
    if (y, x) != aim.place_px:
        own_y, own_x = aim.place_px
        tries = change
        if "at" in given:
            tries = f"try --at {x},{y}" if given["at"] else f"try --left {x} --top {y}"
        raise UsageError(
            f"{aim.name} at {own_x},{own_y} does not fit {where}, which can be moved by whole "
            f"cells of latents ({pin.cell_px} px); {tries}"
        )
    horizon = aim.like.get("horizon_px")
    if given["horizon"] is not None and horizon is not None:
        asked = horizon_shift(model.recipe.generator, (y + horizon) / (1 << pin.depth))
        found = pin.moved(((y - pin.place_px[0]) // pin.cell_px, 0)).shift_cell[0]
        # In a row of photographs a horizon comes to lie where whole cells let it.
        if abs(asked - found) > (1e-6 if "at" in given else 0.5):
            raise UsageError(
                f"--horizon {given['horizon']} is not where {where} has the horizon; {change}"
            )
