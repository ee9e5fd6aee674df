"""A model that paints nothing afloat in its skies: taught by its own pictures, mended.

    pip install scikit-image
    python examples/10_clear_skies.py landscape ONCE
    python examples/10_clear_skies.py ONCE TWICE 6400 300 1

A discriminator hardly sees that a sliver of rock hangs in the air: in a frame of 101 px it is a
few pixels. The picture itself tells: above the skyline it is a small dark spot that no darkness
joins to the ground, what an area closing fills (Vincent, 1993). FRAMES are painted, truncated as
`generate` paints; the sky around takes the place of what floats; and in STEPS the structure
synthesizer learns to paint from the same latents the mended frames, and those that needed no
mending as they were (knowledge distillation: Hinton et al., 2015). Textures stay as they are. SEED
draws other latents. The model in the box was taught twice, as above; its card tells of it.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter
from skimage.measure import label, regionprops
from skimage.morphology import area_closing
from torch import Tensor

from infinite_render.models import DETAIL, Model, load_model, save_model
from infinite_render.nn.generator import Generator
from infinite_render.precision import DTYPES, choose_precision
from infinite_render.training.draws import GENERATOR, Draws
from infinite_render.training.painting import Scene, draw_scene, paint
from infinite_render.training.recipes import TrainRecipe, load_recipe

BATCH = 32
RATE = 0.001
MENDED_WEIGHT = 600.0  # of a mended pixel; another's is 1
BLURRED_WEIGHT = 3.0  # of what differs seen from afar: clouds stay where they were
LARGEST_PX = 450  # area of what floats
STEPS_UP = 5  # pixels that a skyline may climb from one column to the next

Mask = NDArray[np.bool_]
Picture = NDArray[np.uint8]


class Frame(NamedTuple):
    """One frame: row `row` of the batch drawn after `images`; what to paint; what was mended."""

    images: int
    row: int
    rgb: Picture
    mended: Mask


def features(rgb: Picture) -> NDArray[np.float32]:
    """Brightness, two differences of colour and roughness of every pixel, [h,w,4]."""
    blurred = gaussian_filter(rgb.astype(np.float32) / 255, (0.7, 0.7, 0))
    grey = blurred.mean(axis=2)
    rough = np.sqrt(gaussian_filter((grey - gaussian_filter(grey, 2)) ** 2, 2) + 1e-6)
    red, green, blue = np.moveaxis(blurred, 2, 0)
    return np.stack([grey, red - green, blue - green, 3 * rough], axis=2)


def distance(given: NDArray[np.float32], sample: Mask) -> tuple[NDArray[np.float64], float]:
    """Squared Mahalanobis distance of every pixel to those of a sample, and log |covariance|."""
    chosen = given[sample].astype(np.float64)
    away = chosen - chosen.mean(axis=0)
    covariance = away.T @ away / len(away) + np.diag([3e-4, 1e-4, 1e-4, 3e-4])
    apart = given - chosen.mean(axis=0)
    squared = np.einsum("hwi,ij,hwj->hw", apart, np.linalg.inv(covariance), apart)
    return squared, float(np.linalg.slogdet(covariance)[1])


def cheapest_line(gain: NDArray[np.float64]) -> NDArray[np.int64]:
    """The row in each column at which to go from sky to land, [w].

    gain [h,w]: how much better a pixel is as land than as sky. By dynamic programming; a step up or
    down costs 0.6 a pixel.
    """
    zero = np.zeros((1, gain.shape[1]))
    as_land = np.concatenate([zero, gain.cumsum(axis=0)])
    score = as_land[-1] - 2 * as_land
    rows, width = score.shape
    best, came = score[:, 0], np.zeros((width, rows), np.int64)
    for x in range(1, width):
        choices = np.full((2 * STEPS_UP + 1, rows), -np.inf)
        for i, step in enumerate(range(-STEPS_UP, STEPS_UP + 1)):
            to, of = (
                slice(max(step, 0), rows + min(step, 0)),
                slice(max(-step, 0), rows - max(step, 0)),
            )
            choices[i, to] = best[of] - 0.6 * abs(step)
        came[x] = np.arange(rows) - (choices.argmax(axis=0) - STEPS_UP)
        best = choices.max(axis=0) + score[:, x]
    line = np.empty(width, np.int64)
    line[-1] = best.argmax()
    for x in range(width - 1, 0, -1):
        line[x - 1] = came[x, line[x]]
    return line


def skyline(given: NDArray[np.float32]) -> NDArray[np.int64]:
    """The first row of land in each column, by what the frame's own sky and land look like."""
    height, width = given.shape[:2]
    row = np.arange(height)[:, None]
    sky, land = (np.repeat(rows, width, axis=1) for rows in (row < height // 5, row > 0.7 * height))
    line = np.zeros(width, np.int64)
    for _ in range(3):
        if min(sky.sum(), land.sum()) < 50:
            break
        (to_sky, of_sky), (to_land, of_land) = distance(given, sky), distance(given, land)
        line = cheapest_line(np.clip((to_sky + of_sky - to_land - of_land) / 8, -1.5, 1.5))
        sky, land = row < line - 2, (row > line + 2) & (row < line + 0.3 * height)
    return line


def afloat(rgb: Picture) -> tuple[Mask, Mask]:
    """What is dark and afloat in a frame, and its sky, [h,w] each; no sky where none is sure."""
    height, width = rgb.shape[:2]
    given, nothing = features(rgb), np.zeros((height, width), np.bool_)
    line = skyline(given)
    above = line - np.arange(height)[:, None]  # pixels above the skyline
    sky = above > 2
    grey = rgb.mean(axis=2, dtype=np.float32) / 255
    rough = abs(grey - gaussian_filter(grey, 2))
    top = np.repeat(np.arange(height)[:, None] < height // 5, width, axis=1)
    near = (above > 5) & (above <= 16)
    if not near.any() or (line > 0.95 * height).mean() > 0.1 or (line < 4).mean() > 0.3:
        return nothing, nothing  # no horizon
    if rough[near].mean() > 3.5 * (rough[top].mean() + 0.002):
        return nothing, nothing  # snowy peaks were taken for sky

    blurred = gaussian_filter(grey, 0.6)
    depth = area_closing(blurred, LARGEST_PX) - blurred
    spots = label(depth > 0.03)
    steep = np.hypot(*np.gradient(blurred))
    blue = (rgb[..., 2].astype(np.float32) - rgb[..., 0]) / 255
    clear = top & sky & ~binary_dilation(depth > 0.03)
    if clear.sum() < 50:
        return nothing, nothing
    unlike_sky, _ = distance(given, clear)
    found = nothing.copy()
    for spot in regionprops(spots):
        here = spots == spot.label
        top_px, left_px, _, right_px = spot.bbox
        if min(top_px, left_px, width - right_px) == 0:
            continue  # only a part of something
        if not (6 <= spot.area <= LARGEST_PX and depth[here].max() >= 0.06):
            continue
        if steep[binary_dilation(here) & ~here].mean() < 0.022:
            continue  # a shade, not a thing
        around = binary_dilation(here, iterations=6) & ~binary_dilation(here, iterations=2)
        if sky[here].mean() >= 0.8:
            gap = above[here].mean() > 16 and blue[here].mean() > blue[around].mean() + 0.03
            thing = not gap and above[here].mean() <= 50 and np.quantile(unlike_sky[here], 0.75) > 6
        else:  # under the skyline, in haze
            hazy = np.quantile(rough[around], 0.75) < 0.03 and above[here].mean() > -26
            thing = hazy and spot.area <= 260 and depth[here].max() >= 0.1
        found |= here & thing
    return found, sky


def mended(rgb: Picture) -> tuple[Picture, Mask]:
    """A frame in which the sky around takes the place of what floats in it, and where it did."""
    found, sky = afloat(rgb)
    gone = binary_dilation(found, iterations=2) & (sky | found)
    kept = (sky & ~binary_dilation(gone)).astype(np.float32)
    weight = gaussian_filter(kept, 4) + 1e-6
    filled = gaussian_filter(rgb * kept[..., None], (4, 4, 0)) / weight[..., None]
    gone &= weight > 1e-3
    return np.where(gone[..., None], filled.round().astype(np.uint8), rgb), gone


def frames_recipe(model: Model, seed: int) -> TrainRecipe:
    """Whole frames of the model's band, most of them inside it and truncated."""
    recipe, config = load_recipe("default-whole"), model.recipe.generator
    whole = dataclasses.replace(config, patch_cells=config.span_cells, start_rows=1)
    return dataclasses.replace(
        recipe,
        seed=seed,
        generator=whole,
        data=dataclasses.replace(recipe.data, image_px=whole.patch_px, outside=0.2),
        truncated=0.85,
        truncation=model.recipe.render.truncation,
    )


def scene_of(recipe: TrainRecipe, images: int, rows: Sequence[int]) -> Scene:
    """Rows of the batch drawn after `images` frames."""
    draws = Draws(recipe.seed, images, GENERATOR, rows=rows, batch=BATCH)
    return draw_scene(recipe, draws, paired=False)


def joined(scenes: Sequence[Scene]) -> Scene:
    """Several scenes as one."""
    parts: dict[str, Any] = {}
    for name in (field.name for field in dataclasses.fields(Scene)):
        values = [getattr(scene, name) for scene in scenes]
        if isinstance(values[0], list):
            parts[name] = [torch.cat(each) for each in zip(*values, strict=True)]
        else:
            parts[name] = torch.cat(values) if isinstance(values[0], Tensor) else values[0]
    return Scene(**parts)


def painted_frames(model: Model, recipe: TrainRecipe, images: int) -> list[Frame]:
    """A batch of the model's frames, mended where they are truncated and inside the band."""
    scene = scene_of(recipe, images, range(BATCH))
    with torch.inference_mode():
        rgb = paint(model.generator, scene, torch.float32, torch.channels_last).rgb
    pictures = ((rgb.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    inside = (scene.position + 1).abs() <= 0.6 * recipe.label_per_row  # whole frames begin at -1
    clear = inside & (scene.psi[:, 0] < 1)
    frames = []
    for row, picture in enumerate(pictures):
        whole = picture, np.zeros(picture.shape[:2], np.bool_)
        frames.append(Frame(images, row, *(mended(picture) if clear[row] else whole)))
    return frames


def teach(
    generator: Generator,
    recipe: TrainRecipe,
    frames: Sequence[Frame],
    steps: int,
    dtype: torch.dtype,
) -> None:
    """Let the structure synthesizer learn frames; half of a batch were mended, if any were."""
    draw = np.random.default_rng(recipe.seed)
    groups = [[f for f in frames if f.mended.any()], [f for f in frames if not f.mended.any()]]
    generator.requires_grad_(False).structure.requires_grad_(True)
    adam = torch.optim.Adam(generator.structure.parameters(), lr=RATE, betas=(0.9, 0.99))
    warm = max(1, min(20, steps // 5))
    rate = torch.optim.lr_scheduler.LambdaLR(
        adam, lambda n: min(1.0, (n + 1) / warm) * (1 + np.cos(np.pi * n / steps)) / 2
    )
    for step in range(steps):
        chosen = [g[i] for g in groups if g for i in draw.integers(0, len(g), BATCH // 2)]
        scene = joined([scene_of(recipe, f.images, [f.row]) for f in chosen])
        target = torch.from_numpy(np.stack([f.rgb for f in chosen])).permute(0, 3, 1, 2) / 127.5 - 1
        gone = torch.from_numpy(np.stack([f.mended for f in chosen]))[:, None].float()
        rgb = paint(generator, scene, dtype, torch.channels_last).rgb
        away = rgb.clamp(-1.05, 1.05) - target
        blurred = torch.nn.functional.avg_pool2d(away * (1 - gone), 9, 4).abs().mean()
        weight = 1 + (MENDED_WEIGHT - 1) * gone
        loss = (weight * away.abs()).mean() + BLURRED_WEIGHT * blurred
        adam.zero_grad()
        loss.backward()
        adam.step()
        rate.step()
        print(f"step {step + 1} of {steps}: {loss.item():.4f}", end="\r", flush=True)


def main(name: str, folder: Path, count: int = 6_400, steps: int = 300, seed: int = 0) -> Path:
    """Save the model `name`, taught by `count` of its frames in `steps` steps, in `folder`."""
    model = load_model(name)
    recipe = frames_recipe(model, seed)
    frames: list[Frame] = []
    for images in range(0, count, BATCH):
        frames += painted_frames(model, recipe, images)
        print(f"{images + BATCH} of {count} frames", end="\r", flush=True)
    print(f"{sum(f.mended.any() for f in frames)} of {len(frames)} frames were mended")
    teach(model.generator, recipe, frames, steps, DTYPES[choose_precision("auto")])
    renamed = dataclasses.replace(model.recipe, name=folder.name)
    saved = save_model(folder, renamed, model.generator.state_dict())
    if model.detail is not None:
        shutil.copy(model.folder / DETAIL, saved)
    return saved


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:6])))
