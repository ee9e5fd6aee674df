"""A model's first lakes: where they lie is given to it, what water looks like it learns.

    scene -> frame -> flooded -> the same scene with a lake, painted through `nn.lakes`

Calm water shows what stands behind it upside down, the more blurred and the darker the nearer to
the eye it lies, and some of its own colour. A frame of the model's own is flooded by that rule; the
map from mirrored features to features of water learns it (knowledge distillation: Hinton et al.,
2015), all else stays. SciPy comes with the package's extra `skies`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from infinite_render.errors import ModelError
from infinite_render.fields.local import local_weights
from infinite_render.geometry import first_px_of_cell
from infinite_render.models import Model
from infinite_render.nn import coordinates
from infinite_render.nn.generator import build_generator
from infinite_render.nn.lakes import Lakes
from infinite_render.nn.ops import center_crop
from infinite_render.nn.structure import StructureLayer
from infinite_render.pixels import Pixels, to_uint8
from infinite_render.training.draws import GENERATOR, Draws
from infinite_render.training.lessons import frames_recipe, learner, rows_of
from infinite_render.training.painting import Scene, draw_scene, paint
from infinite_render.training.recipes import TrainRecipe

SHORE = 0.706  # v of the far shore: in the model of the box between the cells of rows 10 and 11
DRIEST = 1.0  # deviations of the drift from its mean where a far shore begins to have water
BATCH, DRAWN = 12, 48  # frames of a step: the wettest of those drawn
RATE = 0.001
REACH_CELLS = 2  # around water, where its features change pixels
BLURS_PX = (0.6, 1.5, 3.0, 6.0, 12.0)


def with_lakes(model: Model) -> Model:
    """The model, dry so far, with lakes whose water looks like what it mirrors.

    They lie along the direction of z_l that the structure synthesizer heeds least: in any terrain.
    Raises ModelError for a model that has lakes already, or whose latents do not drift.
    """
    sizes = model.recipe.generator
    _, drift = local_weights(model.recipe.render.truncation, sizes.drift)
    if sizes.shore is not None or drift == 0:
        raise ModelError(
            f"model {model.name} has lakes already or latents without drift; give one that was "
            "trained with drift and has no shore in its model.toml"
        )
    config = dataclasses.replace(sizes, shore=SHORE)
    generator = build_generator(config)
    generator.load_state_dict(model.generator.state_dict(), strict=False)
    lakes = generator.structure.lakes
    assert lakes is not None
    first = generator.structure.layers[0]
    assert isinstance(first, StructureLayer)
    assert lakes.water.bias is not None
    kernels = first.conv.weight.detach()[:, : config.local_dim]
    with torch.no_grad():
        lakes.direction.copy_(torch.linalg.svd(kernels.sum(dim=(2, 3))).Vh[-1])
        lakes.law.copy_(torch.tensor([1 / drift, DRIEST]))
        lakes.water.weight.copy_(torch.eye(*lakes.water.weight.shape[:2])[:, :, None, None])
        lakes.water.bias.zero_()
    recipe = dataclasses.replace(model.recipe, generator=config)
    return dataclasses.replace(model, recipe=recipe, generator=generator)


def flooded(rgb: Pixels, shore_px: float) -> NDArray[np.float32]:
    """A frame [h,w,3] with calm water below row `shore_px`, 0 .. 1."""
    frame = rgb.astype(np.float32) / 255
    rows = np.arange(len(frame))
    first = max(1, round(shore_px))
    down = np.maximum(rows - shore_px, 0)
    blurred = np.stack(
        [gaussian_filter(frame[:first], (s, s / 2, 0), mode="nearest") for s in BLURS_PX]
    )
    how = np.interp(np.log(0.6 + 0.11 * down), np.log(BLURS_PX), range(len(BLURS_PX)))
    source = np.clip(np.rint(shore_px - 1 - 0.95 * down), 0, first - 1).astype(np.int64)
    less = np.minimum(how.astype(np.int64), len(BLURS_PX) - 2)
    more = (how - less)[:, None, None]
    mirrored = (1 - more) * blurred[less, source] + more * blurred[less + 1, source]
    near = np.clip(down / 60, 0, 1)
    mirrors = (0.86 - 0.40 * near * near * (3 - 2 * near))[:, None, None]
    own = frame[: first // 4 + 1].mean(axis=(0, 1)) * (0.30, 0.42, 0.50) + (0, 0.01, 0.02)
    water = mirrors * 0.8 * mirrored + (1 - mirrors) * own
    below = (rows >= shore_px)[:, None, None]
    return np.where(below, water, frame).astype(np.float32)


def shore_rows_px(recipe: TrainRecipe, scene: Scene) -> NDArray[np.float64]:
    """The row in each frame at which v is that of the far shore, [N]."""
    config = recipe.generator
    shore_cell = coordinates.row_of(SHORE, cut=config.cut, span_cells=config.span_cells)
    start_cell = (scene.position.double().numpy() + 1) / recipe.label_per_row
    first_px = first_px_of_cell(0, config.blocks)
    centre_px = 0.5  # of cell 0
    rows: NDArray[np.float64] = config.stride * (shore_cell - start_cell) + centre_px - first_px
    return rows


def draw_wet(recipe: TrainRecipe, lakes: Lakes, images: int) -> tuple[Scene, Tensor]:
    """The wettest of the frames drawn after `images`, and their share of water, [N,1,n,n]."""
    draws = Draws(recipe.seed, images, GENERATOR, rows=range(DRAWN), batch=DRAWN)
    scene = draw_scene(recipe, draws, paired=False)
    share = lakes.share(scene.z_local, scene.c)
    wettest = share.mean(dim=(1, 2, 3)).argsort(descending=True)[:BATCH]
    return rows_of(scene, wettest), share[wettest]


def teach_water(
    dry: Model, model: Model, steps: int, seed: int, dtype: torch.dtype
) -> Iterator[float]:
    """Let the water of `dry`, made a model `with_lakes`, learn what lakes look like, in place.

    Yields the loss of each step.
    """
    recipe = frames_recipe(model, seed)
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, outside=0.0))
    lakes = model.generator.structure.lakes
    assert lakes is not None
    model.generator.requires_grad_(False)
    adam, rate = learner(lakes.water, steps, RATE)
    for step in range(steps):
        scene, share = draw_wet(recipe, lakes, step * DRAWN)
        with torch.no_grad():
            land = paint(dry.generator, scene, dtype, torch.channels_last).rgb
        shores = shore_rows_px(recipe, scene)
        wanted = np.stack([flooded(to_uint8(f), row) for f, row in zip(land, shores, strict=True)])
        wide = 2 * REACH_CELLS + 1
        shares = torch.cat([share, F.max_pool2d(share, wide, 1, REACH_CELLS)], dim=1)
        shares = F.interpolate(shares, scale_factor=recipe.generator.stride, mode="bilinear")
        shares = center_crop(shares, *land.shape[2:])
        share, seen = shares[:, :1], shares[:, 1:]
        target = torch.lerp(land, 2 * torch.from_numpy(wanted).permute(0, 3, 1, 2) - 1, share)
        rgb = paint(model.generator, scene, dtype, torch.channels_last).rgb
        away = seen * (rgb.clamp(-1.05, 1.05) - target)
        difference = away.abs().mean() / seen.mean()
        blurred = F.avg_pool2d(away, 5, 2).abs().mean() / seen.mean()
        adam.zero_grad()
        loss = difference + 2 * blurred
        torch.autograd.backward(loss)
        adam.step()
        rate.step()
        yield loss.item()
