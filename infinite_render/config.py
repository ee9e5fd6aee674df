"""Recipes: frozen dataclasses that say everything about a model, and their TOML.

A recipe is saved beside the weights as `model.toml`; an unknown key is rejected with the nearest
known one. Every field states its unit and its default.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import re
import tomllib
import types
import typing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from infinite_render.errors import RecipeError, nearest
from infinite_render.geometry import MARGIN_CELLS, first_px_of_cell, texture_out_px

MOST_CHANNELS = 2**16  # what the noise field has, too
MOST_LAYERS = 24  # of one kind; the noise field has streams for 24 blocks
MOST_CELLS = 2**20  # of the coordinate grid, and of a training patch
MOST_BLOCK_PX = 2**14  # structure for a whole block is held at once
FINE_CELLS = 192  # from one value of fine styles to the next, where a model says nothing else
FLOORS = {  # keys here and parts of the generator, and the size of the latents that they are of
    "floors": "global_dim",
    "coarse_floors": "global_dim",
    "layout_floors": "global_dim",
    "drift_floors": "local_dim",
}


@dataclass(frozen=True)
class GeneratorConfig:
    """Sizes of the generator, and the coordinate grid it was trained on."""

    global_dim: int = 128  # channels of z_g and of the style w
    local_dim: int = 32  # channels of z_l
    structure_dim: int = 96  # channels of z_s
    structure_layers: int = 4  # 0: no structure synthesizer, z_s = z_l (the paper's ablation)
    structure_radius: int = 2  # cells; a kernel has 2 radius + 1 taps
    texture_dims: tuple[int, ...] = (128, 96, 48)  # channels of each block, coarse to fine
    mapping_layers: int = 8  # layers from z_g to w
    patch_cells: int = 11  # columns of structure in a training patch (n)
    start_rows: int = 7  # rows at which a training patch may start (V)
    period_cells: int = 108  # horizontal period of the coordinate grid (T)
    cut: float = 3.0  # tanh's argument at row 0 is -cut
    drift: float = 0.0  # share of z_l's standard deviation that drifts over many cells
    drift_cells: int = 48  # over which it goes from one value to the next
    coordinates: bool = True  # whether the structure synthesizer sees the coordinates
    padding: bool = False  # zero padding in the texture (an ablation: trained, never rendered)
    shore: float | None = None  # v, from -cut to cut, where lakes begin; None: no lakes
    floors: tuple[str, ...] = ()  # what truncated styles are kept up to a least of, by name
    coarse_floors: tuple[str, ...] = ()  # and truncated coarse styles, then
    layout_floors: tuple[str, ...] = ()  # and truncated layouts, the structure's z_g
    drift_floors: tuple[str, ...] = ()  # and what drifts of truncated z_l

    def __post_init__(self) -> None:
        sizes = (self.global_dim, self.local_dim, self.structure_dim, *self.texture_dims)
        if not self.texture_dims or not 1 <= min(sizes) <= max(sizes) <= MOST_CHANNELS:
            raise RecipeError(
                f"generator sizes must be 1 to {MOST_CHANNELS} channels, texture_dims one or more, "
                f"got {sizes}"
            )
        depths = (self.structure_layers, self.structure_radius, self.mapping_layers, self.blocks)
        if max(depths) > MOST_LAYERS:
            raise RecipeError(
                "structure_layers, structure_radius, mapping_layers and the number of texture_dims "
                f"must be {MOST_LAYERS} at most, got {depths}"
            )
        if self.patch_cells <= (0 if self.padding else MARGIN_CELLS):
            raise RecipeError(f"patch_cells = {self.patch_cells} must be over {MARGIN_CELLS}")
        _check_most(self, ("patch_cells", "start_rows", "period_cells", "drift_cells"), MOST_CELLS)
        if self.structure_layers < 0 or self.structure_radius < 0:
            raise RecipeError("structure_layers and structure_radius must be 0 or more")
        if self.shore is not None and not (
            -self.cut < self.shore < self.cut
            and self.structure_margin_cells
            and self.coordinates
            and not self.padding
        ):
            raise RecipeError(
                f"shore = {self.shore} must lie between -cut and cut, here {self.cut}, and lakes "
                "need a structure synthesizer that sees the coordinates, and no padding"
            )
        if self.structure_layers == 0 and self.structure_dim != self.local_dim:
            raise RecipeError("without structure layers, structure_dim must equal local_dim")
        if self.start_rows < 1 or self.period_cells < 1 or self.mapping_layers < 0:
            raise RecipeError(
                "start_rows and period_cells must be 1 or more, mapping_layers 0 or more"
            )
        for key, size in FLOORS.items():
            names, dim = getattr(self, key), getattr(self, size)
            if len(names) > dim or len(names) != len(set(names)):
                raise RecipeError(
                    f"{key} = {list(names)} must name each floor once, and no more of them than "
                    f"{size}, here {dim}"
                )
        if not 0 < self.cut < math.inf:
            raise RecipeError(f"cut = {self.cut} must be over 0 and finite")
        if not 0 <= self.drift < 1 or self.drift_cells < 1:
            raise RecipeError(
                f"drift must be 0 to below 1 and drift_cells 1 or more, got {self.drift} and "
                f"{self.drift_cells}"
            )
        if self.drift_floors and self.drift == 0:
            raise RecipeError("drift_floors are of what drifts, and drift = 0; leave them out")

    @property
    def blocks(self) -> int:
        return len(self.texture_dims)

    @property
    def latent_dim(self) -> int:
        """Channels of z_l that are drawn: lakes have one of their own, the last."""
        return self.local_dim + (self.shore is not None)

    @property
    def stride(self) -> int:
        """Pixels per cell."""
        return 1 << self.blocks

    @property
    def patch_px(self) -> int:
        if self.padding:
            return self.stride * self.patch_cells
        return texture_out_px(self.patch_cells, self.blocks)

    @property
    def structure_margin_cells(self) -> int:
        """Cells of z_l the structure synthesizer consumes on each side (m)."""
        return self.structure_layers * self.structure_radius

    @property
    def span_cells(self) -> int:
        """Rows of cells that training showed, n + V - 1: v goes from -cut to cut over them."""
        return self.patch_cells + self.start_rows - 1

    @property
    def v_per_row(self) -> float:
        """By how much v, of the coordinates, grows from one row of cells to the next."""
        return 2 * self.cut / self.span_cells

    @property
    def styles(self) -> int:
        """Entries of w a picture reads: one per convolution, and the last ToRGB's."""
        return 2 * self.blocks + 1

    @property
    def band_px(self) -> tuple[int, int]:
        """First and past-the-last pixel row of the vertical band that training showed.

        >>> GeneratorConfig().band_px
        (14, 115)
        """
        first_px = first_px_of_cell(0, self.blocks)
        return first_px, first_px + self.patch_px + self.stride * (self.start_rows - 1)


@dataclass(frozen=True)
class DetailConfig:
    """Sizes of a step of the detail ladder; beyond the last zoom its gains stay the last's."""

    low_dim: int = 32  # channels at the low resolution
    low_layers: int = 3  # 3x3 convolutions there
    up_dim: int = 32  # channels after the upsampling convolution
    high_dim: int = 16  # channels of the convolution at the high resolution
    zooms: int = 4  # zooms with gains of their own: depth 0 to 1, 1 to 2, ...

    def __post_init__(self) -> None:
        if min(self.low_dim, self.low_layers, self.up_dim, self.high_dim, self.zooms) < 1:
            raise RecipeError(f"sizes of the detail ladder must be positive, got {self}")
        _check_most(self, ("low_dim", "up_dim", "high_dim"), MOST_CHANNELS)
        _check_most(self, ("low_layers", "zooms"), MOST_LAYERS)


def _check_most(sizes: object, names: tuple[str, ...], most: int) -> None:
    """RecipeError for the first of the fields called `names` that is over `most`."""
    for name in names:
        if (value := getattr(sizes, name)) > most:
            raise RecipeError(f"{name} = {value} must be {most} at most")


def check_truncation(psi: float) -> float:
    """RecipeError for a truncation beyond 0 .. 1."""
    if not 0.0 <= psi <= 1.0:
        raise RecipeError(f"truncation = {psi} must lie between 0 and 1; 1 paints without")
    return psi


def check_style_drift(drift: float, key: str = "style_drift") -> float:
    """RecipeError for a drift of the style beyond 0 .. 1."""
    if not 0.0 <= drift <= 1.0:
        raise RecipeError(f"{key} = {drift} must be 0, one style, to 1, any style")
    return drift


@dataclass(frozen=True)
class RenderConfig:
    """How the plane is cut for rendering, and varied; part of what a picture's bits depend on."""

    cell_px: int = 512  # a cell is computed alone, always with the same shapes
    block_px: int = 2048  # structure is computed once per block; one shard of the store
    truncation: float = 1.0  # psi: 1 leaves latents as drawn, 0 is the mean style
    style_drift: float = 0.0  # share of z_g's standard deviation that drifts along a canvas
    style_cells: int = 64  # over which it goes from one value to the next
    fine_drift: float | None = None  # that of fine styles; None: they drift with the coarse ones
    fine_cells: int = FINE_CELLS  # over which these go from one value to the next
    relief: float = 0.0  # rows of cells by which land is high or low, standard deviation

    def __post_init__(self) -> None:
        if self.cell_px < 1 or self.block_px < 1 or self.block_px % self.cell_px:
            raise RecipeError(
                f"block_px = {self.block_px} must be a multiple of cell_px = {self.cell_px}"
            )
        check_truncation(self.truncation)
        check_style_drift(self.style_drift)
        for key in ("style_cells", "fine_cells"):
            if not 1 <= (cells := getattr(self, key)) <= MOST_CELLS:
                raise RecipeError(f"{key} = {cells} must be 1 to {MOST_CELLS}")
        if self.fine_drift is not None:
            check_style_drift(self.fine_drift, "fine_drift")
            if self.fine_drift > self.style_drift or self.fine_cells < self.style_cells:
                raise RecipeError(
                    f"fine styles drift less and farther: fine_drift = {self.fine_drift} must be "
                    f"style_drift = {self.style_drift} at most, fine_cells = {self.fine_cells} "
                    f"style_cells = {self.style_cells} at least"
                )
        if not 0.0 <= self.relief < math.inf:
            raise RecipeError(
                f"relief = {self.relief} must be 0 rows of cells or more, and not infinite"
            )


@dataclass(frozen=True)
class ModelRecipe:
    """What `model.toml` holds: the generator, how it is rendered, and where it came from."""

    name: str = "unnamed"
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    render: RenderConfig = field(default_factory=RenderConfig)
    detail: DetailConfig | None = None  # the ladder's step, or None for a model without one
    trained: dict[str, Any] = field(
        default_factory=dict
    )  # images shown, data, recipe; for the reader

    def __post_init__(self) -> None:
        if self.render.block_px > MOST_BLOCK_PX:  # here: a plan alone may be reckoned for any block
            raise RecipeError(
                f"render.block_px = {self.render.block_px} must be {MOST_BLOCK_PX} at most"
            )
        if self.render.relief and not self.generator.coordinates:
            raise RecipeError(
                f"render.relief = {self.render.relief} shifts coordinates, and the generator sees "
                "none; leave it out"
            )
        if self.render.cell_px % self.generator.stride:
            raise RecipeError(
                f"render.cell_px = {self.render.cell_px} must be a multiple of the "
                f"{self.generator.stride} px of a column of latents"
            )


T = TypeVar("T")


def from_dict(kind: type[T], values: dict[str, Any], where: str = "") -> T:
    """Build the dataclass `kind` from plain values; RecipeError for an unknown key or type."""
    hints = typing.get_type_hints(kind)
    known = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise RecipeError(f"unknown key {where + key!r}{nearest(key, known)}")
    return kind(**{key: _convert(hints[key], value, where + key) for key, value in values.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return from_dict(hint, value, f"{where}.")  # type: ignore[arg-type]
    if origin is tuple and isinstance(value, list | tuple):
        item = typing.get_args(hint)[0]
        return tuple(_convert(item, v, where) for v in value)
    if origin in (typing.Union, types.UnionType):
        options = [a for a in typing.get_args(hint) if a is not type(None)]
        return None if value is None else _convert(options[0], value, where)
    if origin is dict or hint is dict:
        expected: type = dict
    elif origin is typing.Literal:
        if value not in typing.get_args(hint):
            allowed = ", ".join(map(repr, typing.get_args(hint)))
            raise RecipeError(f"{where} = {value!r} is not one of {allowed}")
        return value
    else:
        expected = hint
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise RecipeError(f"{where} is a whole number too large for a float") from None
    if dataclasses.is_dataclass(hint):
        raise RecipeError(f"{where} = {value!r} must be a table")
    if origin is tuple:
        raise RecipeError(f"{where} = {value!r} must be a list")
    if not isinstance(value, expected) or (expected is not bool and isinstance(value, bool)):
        raise RecipeError(f"{where} = {value!r} must be of type {expected.__name__}")
    return value


def to_dict(recipe: Any) -> dict[str, Any]:
    """Plain values of a dataclass, nested; None is left out, as TOML has no such value."""
    return {
        f.name: to_dict(value) if dataclasses.is_dataclass(value) else value
        for f in dataclasses.fields(recipe)
        if (value := getattr(recipe, f.name)) is not None
    }


def parse_toml(kind: type[T], text: str, source: str) -> T:
    """Read a dataclass from TOML text; `source` names the file in errors."""
    try:
        return from_dict(kind, tomllib.loads(text))
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is no TOMLError
        raise RecipeError(f"{source} is not TOML: {error}") from None
    except RecipeError as error:
        raise RecipeError(f"{source}: {error}") from None


def format_toml(recipe: Any) -> str:
    """TOML text of a dataclass (tables after plain keys); `parse_toml` reads it back."""
    return _format_table(to_dict(recipe), "").lstrip("\n")


def _format_table(values: dict[str, Any], path: str) -> str:
    plain = {k: v for k, v in values.items() if v is not None and not isinstance(v, dict)}
    tables = {k: v for k, v in values.items() if isinstance(v, dict)}
    text = f"\n[{path}]\n" if path and (plain or not tables) else ""
    text += "".join(f"{_format_key(k)} = {_format_value(value)}\n" for k, value in plain.items())
    for key, table in tables.items():
        text += _format_table(table, f"{path}.{_format_key(key)}" if path else _format_key(key))
    return text


def _format_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _format_value(key)


def _format_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_format_value(v) for v in value) + "]"
    raise TypeError(f"no TOML for {value!r}")
