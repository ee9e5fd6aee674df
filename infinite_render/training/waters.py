"""A model's first lakes: where they lie is given to it, what water looks like it learns.

    scene -> frame -> flooded -> water of the same scene, painted through `nn.lakes`

Water shows what stands behind it upside down, darker, and some of its own colour. A frame of the
model's own is flooded by that rule; the map from mirrored features to features of water learns the
tones of it (knowledge distillation: Hinton et al., 2015), all else stays.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from infinite_render.config import GeneratorConfig
from infinite_render.errors import ModelError
from infinite_render.geometry import first_px_of_cell
from infinite_render.models import Model
from infinite_render.nn import coordinates
from infinite_render.nn.generator import Generator, build_generator
from infinite_render.nn.lakes import COMPRESSION
from infinite_render.training.lessons import draw_inside, frames_recipe, lesson
from infinite_render.training.painting import Scene, layouts_of, light_of, paint, styles_of

SHORE = 0.706  # v where lakes begin: in the model of the box between the cells of rows 10 and 11
MIRRORS, DULLS = 0.75, 0.33  # of what is mirrored, and so much less the brighter it is
OWN = (0.4, 0.5, 0.64)  # water's own colour, in the light of the sky
OWN_SHARE, OWN_NEARER = 0.4, 0.4  # of its own colour: at the shore; more, a frame's height below
BATCH = 12
RATE = 0.0007
TONE_PX = 11  # what is smaller is not looked at
CALM_PX, CALM_WEIGHT = 5, 1.0  # water is smooth within so many px: the strokes of grass are no rain
DARKEST = 0.05  # light that a frame is taken to have at least


def with_lakes(model: Model) -> Model:
    """The model with lakes whose water looks like what it mirrors.

    Raises ModelError for a model that has lakes already.
    """
    sizes = model.recipe.generator
    if sizes.shore is not None:
        raise ModelError(
            f"model {model.name} has lakes already; give one that has no shore in its model.toml"
        )
    config = dataclasses.replace(sizes, shore=SHORE)
    generator = build_generator(config)
    generator.load_state_dict(model.generator.state_dict(), strict=False)
    lakes = generator.structure.lakes
    assert lakes is not None
    with torch.no_grad():
        lakes.water.weight.copy_(torch.eye(*lakes.water.weight.shape[:2])[:, :, None, None])
        assert lakes.water.bias is not None
        lakes.water.bias.zero_()
    recipe = dataclasses.replace(model.recipe, generator=config)
    return dataclasses.replace(model, recipe=recipe, generator=generator)


def flooded(rgb: Tensor, shore_px: float) -> Tensor:
    """Frames [N,3,h,w], 0 .. 1, with water below row `shore_px`."""
    height = rgb.shape[2]
    down = torch.arange(height) - shore_px
    source = (shore_px - 1 - COMPRESSION * down).round().clamp(0, height - 1)
    mirrored = rgb[:, :, source.long()]
    mirrored = mirrored * (MIRRORS - DULLS * mirrored.mean(dim=1, keepdim=True))
    own = rgb[:, :, : height // 8].mean(dim=(2, 3), keepdim=True) * torch.tensor(OWN)[:, None, None]
    share = OWN_SHARE + OWN_NEARER * (down / height)[:, None]
    return torch.where(down[:, None] >= 0, mirrored.lerp(own, share), rgb)


def shore_row_px(config: GeneratorConfig) -> float:
    """The row of a frame at which lakes begin, in a generator of whole frames."""
    assert config.shore is not None
    row = coordinates.row_of(config.shore, cut=config.cut, span_cells=config.span_cells)
    centre_px = 0.5  # of cell 0
    return config.stride * row + centre_px - first_px_of_cell(0, config.blocks)


def paint_water(generator: Generator, scene: Scene, dtype: torch.dtype) -> Tensor:
    """RGB [N,3,P,P] of a scene as if all of it were water; convolutions work in `dtype`."""
    of_land = scene.z_local[:, :-1].to(dtype, memory_format=torch.channels_last)
    level = torch.zeros_like(scene.c[:, :1])
    z_global = layouts_of(generator, scene)
    z_structure = generator.structure.of_water(z_global, of_land, scene.c, level)
    rgb: Tensor = generator.texture(z_structure, styles_of(generator, scene), scene.noise)
    return rgb


def teach_water(
    dry: Model, model: Model, steps: int, seed: int, dtype: torch.dtype
) -> Iterator[float]:
    """Let the water of `dry`, made a model `with_lakes`, learn what lakes look like, in place.

    Yields the loss of each step.
    """
    recipe = frames_recipe(model, seed)
    lakes = model.generator.structure.lakes
    assert lakes is not None
    model.generator.requires_grad_(False)
    shore_px = shore_row_px(recipe.generator)
    first_px = round(shore_px)

    def loss_of(step: int) -> Tensor:
        scene = draw_inside(recipe, step * BATCH, BATCH, model.generator.drift_floors)
        of_land = dataclasses.replace(scene, z_local=scene.z_local[:, :-1])
        with torch.no_grad():
            land = light_of(paint(dry.generator, of_land, dtype, torch.channels_last).rgb)
        water = light_of(paint_water(model.generator, scene, dtype))
        water, wanted = (
            rgb[:, :, first_px:] for rgb in (water, flooded(land.clamp(0, 1), shore_px))
        )
        away = F.avg_pool2d(water - wanted, TONE_PX, 1).abs().mean(dim=(1, 2, 3))
        edge = CALM_PX // 2
        ripples = water[:, :, edge:-edge, edge:-edge] - F.avg_pool2d(water, CALM_PX, 1)
        away = away + CALM_WEIGHT * ripples.abs().mean(dim=(1, 2, 3))
        return (away / (wanted.mean(dim=(1, 2, 3)) + DARKEST)).mean()

    yield from lesson(lakes.water, steps, RATE, loss_of)
