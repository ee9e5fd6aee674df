"""What a training step asks the generator to paint: latents, coordinates, styles, noise, labels.

Cells are those of a training patch, n columns square and m more on each side. Samples of one pair
are i and i + N / 2: they share z_g, c, style mixing, and differ in z_l and noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from infinite_render.config import GeneratorConfig
from infinite_render.fields.local import (
    LAKES_DRY,
    LAKES_LEAST,
    LAKES_RARE,
    band_weight,
    floored,
)
from infinite_render.geometry import Span, spans_given, texture_stage
from infinite_render.nn import coordinates
from infinite_render.nn.floors import Floors
from infinite_render.nn.generator import Generator
from infinite_render.nn.truncation import Truncation
from infinite_render.training.draws import Draws
from infinite_render.training.recipes import TrainRecipe


@dataclass(frozen=True)
class Scene:
    """Inputs of the generator for N patches.

    z_global, z_second [N,D]; crossover int64 [N], styles from it on are z_second's; psi [N,1], how
    far each is truncated: by `truncation`, or 1. z_local is already, z_global and styles not yet;
    z_local [N,L,n+2m,n+2m], with lakes L + 1; c [N,3,n+2m,n+2m]; noise [N,1,H_i,W_i] a texture
    convolution; position float32 [N], the vertical place of the patch: -1 and 1 where it begins at
    the band's first and last row (a jitter may pass them), beyond where it lies partly outside it.
    """

    z_global: Tensor
    z_second: Tensor
    crossover: Tensor
    truncation: float
    psi: Tensor
    z_local: Tensor
    c: Tensor
    noise: list[Tensor]
    position: Tensor


class Painted(NamedTuple):
    """rgb float32 [N,3,P,P]; z_l [N,L,n+2m,n+2m]; z_s [N,S,n,n]; w [N,styles,D]."""

    rgb: Tensor
    z_local: Tensor
    z_structure: Tensor
    w: Tensor


def noise_sizes(config: GeneratorConfig, cells: int) -> list[int]:
    """Side of the noise of each texture convolution, for `cells` columns of structure.

    >>> noise_sizes(GeneratorConfig(texture_dims=(8, 8)), 11)
    [19, 17, 31, 29]
    """
    if config.padding:
        return [cells << (b + 1) for b in range(config.blocks) for _ in range(2)]
    return [span.size for span in spans_given(texture_stage(config.blocks), Span(0, cells))[1:]]


def share(values: Tensor) -> Tensor:
    """The second half of the samples becomes a copy of the first."""
    half = values[: values.shape[0] // 2]
    return torch.cat([half, half])


def draw_scene(
    recipe: TrainRecipe, draws: Draws, *, paired: bool, drift_floors: Floors | None
) -> Scene:
    """Draw the inputs of a batch; with `paired`, pairs share what they should.

    `drift_floors` are the generator's, up to which what drifts of truncated z_l is kept.
    """
    config = recipe.generator
    cells = config.patch_cells + 2 * config.structure_margin_cells
    same = share if paired else _as_is
    z_global, z_second = (
        same(draws.normal(config.global_dim)),
        same(draws.normal(config.global_dim)),
    )

    mixed = draws.uniform() < recipe.loss.style_mixing
    entries = draws.integers(1, config.styles)
    crossover = same(torch.where(mixed, entries, torch.full_like(entries, config.styles)))

    start_row = _start_row(recipe, draws)
    start_column = draws.integers(0, config.period_cells).double()
    jitter = draws.uniform(2).double() - 0.5
    row = start_row + jitter[:, 0]
    position = row * recipe.label_per_row - 1
    # Fault 2 of the reference: a pair shares its coordinates, but each keeps the label it drew.
    position = position if recipe.faithful else same(position)
    rows = _from_margin(config, same(row), cells)
    columns = _from_margin(config, same(start_column + jitter[:, 1]), cells)

    z_local = draws.normal(config.local_dim, cells, cells)
    drift = draws.normal(config.local_dim, 1, 1) if config.drift > 0 else None
    truncation = recipe.model_truncation
    psi = torch.ones_like(z_global[:, :1])
    if truncation < 1:
        psi = same(torch.where(draws.uniform(1) < recipe.truncated, truncation, psi))
    z_local = _local_latents(config, z_local, drift, rows, psi, drift_floors)
    if config.shore is not None:
        z_local = with_channel_of_lakes(z_local, draws.normal(1, 1, 1))
    sides = noise_sizes(config, config.patch_cells)
    return Scene(
        z_global=z_global,
        z_second=z_second,
        crossover=crossover,
        truncation=truncation,
        psi=psi,
        z_local=z_local,
        c=_grid(config, rows, columns),
        noise=[draws.normal(1, side, side) for side in sides],
        position=position.float(),
    )


def with_channel_of_lakes(z_local: Tensor, drawn: Tensor) -> Tensor:
    """z_l [N,L+1,h,w]: a patch lies in one lake or in none, by Gaussian `drawn`, [N,1,1,1]."""
    beyond = drawn - LAKES_RARE
    lakes = torch.where(beyond > 0, beyond + LAKES_LEAST, LAKES_DRY)
    return torch.cat([z_local, lakes.expand(-1, 1, *z_local.shape[2:])], dim=1)


def _start_row(recipe: TrainRecipe, draws: Draws) -> Tensor:
    """Rows of the coordinate grid at which patches start, whole numbers, float64 [N]."""
    data, last = recipe.data, recipe.generator.start_rows - 1
    inside = draws.integers(0, last + 1)
    if data.outside <= 0:
        return inside.double()
    rows = draws.integers(1, data.outside_rows + 1)
    u_outside, u_above = draws.uniform(2).unbind(1)
    outside = torch.where(u_above < 0.5, -rows, last + rows)
    return torch.where(u_outside < data.outside, outside, inside).double()


def _local_latents(
    config: GeneratorConfig,
    own: Tensor,
    drift: Tensor | None,
    rows: Tensor,
    psi: Tensor,
    floors: Floors | None,
) -> Tensor:
    """z_l by the law of `fields.local`, truncated to `psi`; over a patch, the drift stands still.

    own [N,L,h,w], what each cell draws; drift [N,L,1,1] or None; rows float64 [N,h]; psi [N,1].
    """
    kept = psi * psi * band_weight(rows, psi.double(), config.span_cells).float()  # [N,h]
    z_local = math.sqrt(1 - config.drift**2) * own
    if drift is not None:
        if floors is not None:
            raised = floored(drift.transpose(0, 1), floors.each()).transpose(0, 1)
            drift = torch.where(psi[:, :, None, None] < 1, raised, drift)
        z_local = z_local + config.drift * drift
    return kept[:, None, :, None] * z_local


def _as_is(values: Tensor) -> Tensor:
    return values


def _from_margin(config: GeneratorConfig, start: Tensor, cells: int) -> Tensor:
    """Rows or columns of all cells of patches that start at `start`, float64 [N] -> [N,cells]."""
    offset = torch.arange(cells, device=start.device).double() - config.structure_margin_cells
    return start[:, None] + offset


def _grid(config: GeneratorConfig, rows: Tensor, columns: Tensor) -> Tensor:
    """c [N,3,h,w] of patches of those rows and columns, float64 [N,h], [N,w]."""
    tanh_v = coordinates.vertical(rows, cut=config.cut, span_cells=config.span_cells)
    phases = coordinates.horizontal(columns, period_cells=config.period_cells)
    return coordinates.stack(tanh_v, *phases).float()


def styles_of(generator: Generator, scene: Scene) -> Tensor:
    """w of a scene's patches, truncated as they are, [N,styles,D]."""
    w = generator.mixed_style(scene.z_global, scene.z_second, scene.crossover)
    if scene.truncation == 1:
        return w
    nearer = Truncation(generator, scene.truncation).nearer(w)
    return torch.where(scene.psi[:, :, None] < 1, nearer, w)


def layouts_of(generator: Generator, scene: Scene) -> Tensor:
    """What the structure of a scene's patches is modulated by, truncated as they are, [N,D]."""
    if scene.truncation == 1:
        return scene.z_global
    layout = Truncation(generator, scene.truncation).layout(scene.z_global)
    return torch.where(scene.psi < 1, scene.psi * layout, scene.z_global)


def paint(
    generator: Generator, scene: Scene, dtype: torch.dtype, layout: torch.memory_format
) -> Painted:
    """Run the generator; its convolutions work in `dtype`, its RGB is float32."""
    w = styles_of(generator, scene)
    z_local = scene.z_local.to(dtype=dtype, memory_format=layout)
    c = scene.c.to(memory_format=layout)  # float32: in bfloat16 rows below the band are one
    z_global = layouts_of(generator, scene)
    rgb, z_structure = generator(z_global, z_local, c, w=w, noise=scene.noise)
    return Painted(rgb, scene.z_local, z_structure, w)


def light_of(rgb: Tensor) -> Tensor:
    """A generator's RGB, -1 .. 1 and a little beyond, as 0 .. 1."""
    return (rgb.clamp(-1.05, 1.05) + 1) / 2
