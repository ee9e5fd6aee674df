"""A model that paints less afloat in its skies: taught by its own pictures, mended.

    pip install scikit-image
    python examples/10_clear_skies.py MODEL OUT FRAMES STEPS SEED
    python examples/10_clear_skies.py landscape ONCE
    python examples/10_clear_skies.py ONCE TWICE 6400 300 1

A discriminator hardly sees that a sliver of rock hangs in the air: in a frame of 101 px it is a
few pixels. The picture itself tells: above the skyline it is a small dark spot that no darkness
joins to the ground, what an area closing fills (Vincent, 1993). FRAMES are painted, most of them as
`generate` paints, truncated and about the horizon; in these the sky around takes the place of what
floats. In STEPS the structure synthesizer learns to paint from the same latents what was mended,
and all else as it was (knowledge distillation: Hinton et al., 2015). Textures stay as they are.
SEED draws other latents. The model in the box was taught so twice, from the one before it; its card
tells of it.
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
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter
from skimage.measure import label, regionprops
from skimage.morphology import area_closing
from torch import Tensor

from infinite_render.models import DETAIL, Model, load_model, save_model
from infinite_render.nn.generator import Generator
from infinite_render.precision import DTYPES, choose_precision
from infinite_render.rendering.scene import to_uint8
from infinite_render.training.draws import GENERATOR, Draws
from infinite_render.training.painting import Scene, draw_scene, paint
from infinite_render.training.recipes import TrainRecipe, load_recipe

BATCH = 32
RATE = 0.001
MENDED_WEIGHT = 600.0  # of a mended pixel; another's is 1
BLURRED_WEIGHT = 3.0  # of what differs seen from afar: clouds stay where they were
SMALLEST_PX, LARGEST_PX = 6, 450  # area of what floats
DARK = 0.03  # least depth of a spot, where 1 is from black to white
STEEPEST_PX = 5  # that a skyline may rise or fall from one column to the next

Mask = NDArray[np.bool_]
Picture = NDArray[np.uint8]


class Frame(NamedTuple):
    """Row `row` of the batch drawn after `images`: what to paint [h,w,3], what was mended [h,w]."""

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


def mahalanobis(given: NDArray[np.float32], sample: Mask) -> tuple[NDArray[np.float64], float]:
    """Squared Mahalanobis distance of every pixel to those of a sample, and log |covariance|."""
    chosen = given[sample].astype(np.float64)
    away = chosen - chosen.mean(axis=0)
    covariance = away.T @ away / len(away) + np.diag([3e-4, 1e-4, 1e-4, 3e-4])
    apart = given - chosen.mean(axis=0)
    squared = np.einsum("hwi,ij,hwj->hw", apart, np.linalg.inv(covariance), apart)
    return squared, float(np.linalg.slogdet(covariance)[1])


def best_line(gain: NDArray[np.float64]) -> NDArray[np.int64]:
    """The row in each column at which to go from sky to land, [w].

    gain [h,w]: how much better a pixel is as land than as sky. By dynamic programming; a step up or
    down costs 0.6 a pixel.
    """
    as_land = np.concatenate([np.zeros((1, gain.shape[1])), gain.cumsum(axis=0)])
    score = as_land[-1] - 2 * as_land
    rows, width = score.shape
    steps = np.arange(-STEEPEST_PX, STEEPEST_PX + 1)
    best, came = score[:, 0], np.zeros((width, rows), np.int64)
    for x in range(1, width):
        edged = np.pad(best, STEEPEST_PX, constant_values=-np.inf)
        choices = sliding_window_view(edged, len(steps))[:, ::-1] - 0.6 * abs(steps)
        came[x] = np.arange(rows) - steps[choices.argmax(axis=1)]
        best = choices.max(axis=1) + score[:, x]
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
        (to_sky, of_sky), (to_land, of_land) = mahalanobis(given, sky), mahalanobis(given, land)
        line = best_line(np.clip((to_sky + of_sky - to_land - of_land) / 8, -1.5, 1.5))
        sky, land = row < line - 2, (row > line + 2) & (row < line + 0.3 * height)
    return line


class View(NamedTuple):
    """What tells things from sky in a frame, [h,w] each."""

    above: NDArray[np.int64]  # pixels above the skyline, negative under it
    grey: NDArray[np.float32]
    blue: NDArray[np.float32]  # less red
    rough: NDArray[np.float32]
    steep: NDArray[np.float32]
    depth: NDArray[np.float32]  # what the area closing lightened it by
    unlike_sky: NDArray[np.float64]


def view_of(rgb: Picture) -> View | None:
    """None where no skyline is sure."""
    height = len(rgb)
    row = np.arange(height)[:, None]
    given = features(rgb)
    line = skyline(given)
    above = line - row
    grey = rgb.mean(axis=2, dtype=np.float32) / 255
    rough = abs(grey - gaussian_filter(grey, 2))
    near = (above > 5) & (above <= 16)
    if not near.any() or (line > 0.95 * height).mean() > 0.1 or (line < 4).mean() > 0.3:
        return None  # no horizon
    if rough[near].mean() > 3.5 * (rough[: height // 5].mean() + 0.002):
        return None  # snowy peaks were taken for sky
    blurred = gaussian_filter(grey, 0.6)
    depth = area_closing(blurred, LARGEST_PX) - blurred
    clear = (above > 2) & (row < height // 5) & ~binary_dilation(depth > DARK)
    if clear.sum() < 50:
        return None
    return View(
        above=above,
        grey=grey,
        blue=(rgb[..., 2].astype(np.float32) - rgb[..., 0]) / 255,
        rough=rough,
        steep=np.hypot(*np.gradient(blurred)),
        depth=depth,
        unlike_sky=mahalanobis(given, clear)[0],
    )


def floats(here: Mask, view: View) -> bool:
    """Whether a dark spot of a frame is a thing afloat: sharp, unlike the sky, no gap in clouds."""
    depth, above = view.depth[here].max(), view.above[here].mean()
    if depth < 0.06 or view.steep[binary_dilation(here) & ~here].mean() < 0.022:
        return False  # a shade
    around = binary_dilation(here, iterations=6) & ~binary_dilation(here, iterations=2)
    if (view.above > 2)[here].mean() < 0.8:  # under the skyline: in haze?
        hazy = np.quantile(view.rough[around], 0.75) < 0.03
        like_sky = np.median(view.unlike_sky[around]) < 40
        return bool(hazy and like_sky and above > -26 and depth >= 0.1)
    bluer = view.blue[here].mean() - view.blue[around].mean()
    darker = view.grey[around].mean() - view.grey[here].mean()
    gap = above > 16 and bluer > max(0.03, darker / 1.5)
    return bool(not gap and above <= 50 and np.quantile(view.unlike_sky[here], 0.75) > 6)


def afloat(rgb: Picture) -> tuple[Mask, Mask]:
    """What is dark and afloat in a frame, and its sky, [h,w] each; no sky where none is sure."""
    found = np.zeros(rgb.shape[:2], np.bool_)
    view = view_of(rgb)
    if view is None:
        return found, found
    spots = label(view.depth > DARK)
    for spot in regionprops(spots):
        top_px, left_px, _, right_px = spot.bbox
        whole = min(top_px, left_px, rgb.shape[1] - right_px) > 0
        if whole and SMALLEST_PX <= spot.area <= LARGEST_PX:
            here = spots == spot.label
            found |= here & floats(here, view)
    return found, view.above > 2


def mended(rgb: Picture) -> tuple[Picture, Mask]:
    """A frame in which the sky around takes the place of what floats in it, and where it did."""
    found, sky = afloat(rgb)
    gone = binary_dilation(found, iterations=2) & (sky | found)
    kept = (sky & ~binary_dilation(gone)).astype(np.float32)
    weight = gaussian_filter(kept, 4) + 1e-6
    filled = gaussian_filter(rgb * kept[..., None], (4, 4, 0)) / weight[..., None]
    gone &= weight > 1e-3  # where there is sky within reach
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
    inside = (scene.position + 1).abs() <= 0.6 * recipe.label_per_row  # whole frames begin at -1
    as_generated = inside & ((scene.psi[:, 0] < 1) | (scene.truncation == 1))
    frames = []
    for row, picture in enumerate(map(to_uint8, rgb)):
        unchanged = picture, np.zeros(picture.shape[:2], np.bool_)
        frames.append(Frame(images, row, *(mended(picture) if as_generated[row] else unchanged)))
    return frames


def teach(
    generator: Generator,
    recipe: TrainRecipe,
    frames: Sequence[Frame],
    steps: int,
    dtype: torch.dtype,
) -> None:
    """Let the generator's structure synthesizer learn frames, in place.

    Half of a batch were mended, if any were.
    """
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
    """Save the model `name`, taught by `count` of its frames in `steps` steps, in `folder`.

    Frames are painted by batches of 32, the last one whole.
    """
    model = load_model(name)
    recipe = frames_recipe(model, seed)
    frames: list[Frame] = []
    for images in range(0, count, BATCH):
        frames += painted_frames(model, recipe, images)
        print(f"{images + BATCH} of {count} frames", end="\r", flush=True)
    print(f"{sum(f.mended.any() for f in frames)} of {len(frames)} frames were mended")
    teach(model.generator, recipe, frames, steps, DTYPES[choose_precision("auto")])
    print()
    renamed = dataclasses.replace(model.recipe, name=folder.name)
    saved = save_model(folder, renamed, model.generator.state_dict())
    if model.detail is not None:
        shutil.copy(model.folder / DETAIL, saved)
    return saved


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:6])))
