"""The two canvases an evaluation renders: a square for its seams, a strip for its repetition.

Both come from the renderer itself. The square is cut into cells as the model's own recipe says, so
its borders are those of every picture the model makes; the strip is as high as a photograph and
lies on the trained band, in cells of its own, as no border matters there.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from infinite_render.config import RenderConfig
from infinite_render.evaluation.painters import ModelPainter
from infinite_render.evaluation.photographs import Photographs
from infinite_render.evaluation.repetition import Repetition, repetition
from infinite_render.evaluation.seams import Seams, seam_ratio
from infinite_render.evaluation.work import Progress, in_threads
from infinite_render.geometry import Window, tiles_of
from infinite_render.rendering.scene import Scene

Picture = npt.NDArray[np.uint8]


def render_canvas(
    painter: ModelPainter, render: RenderConfig, window: Window, seed: int, workers: int, phase: str
) -> Generator[Progress, None, Picture]:
    """A window of the plane, uint8 [H,W,3], in cells as `render` says."""
    recipe = replace(painter.model.recipe, render=render)
    scene = Scene(
        replace(painter.model, recipe=recipe),
        seed=seed,
        precision=painter.precision,
        device=painter.device,
        truncation=painter.psi,
    )
    picture = np.empty((window.height, window.width, 3), np.uint8)

    def paint(part: Window) -> None:
        picture[part.within(window)] = scene.paint(part)

    parts = [block.meet(window) for block in tiles_of(window, render.block_px)]
    yield from in_threads(paint, parts, workers, phase)
    return picture


def seams(
    painter: ModelPainter, canvas_px: int, seed: int, workers: int
) -> Generator[Progress, None, Seams]:
    """The seams of a square canvas of `canvas_px` pixels or more around the trained band."""
    recipe = painter.model.recipe
    render, stride = recipe.render, recipe.generator.stride
    cells = max(2, math.ceil(math.sqrt(canvas_px) / render.cell_px))
    side = cells * render.cell_px
    top = -(cells // 2) * render.cell_px
    window = Window(top, 0, side, side)
    picture = yield from render_canvas(painter, render, window, seed, workers, "canvas for seams")
    return seam_ratio(picture, window.y, window.x, render.cell_px, stride, seed)


def repetition_on_strip(
    painter: ModelPainter, photographs: Photographs, canvas_px: int, seed: int, workers: int
) -> Generator[Progress, None, Repetition]:
    """The repetition of a strip of `canvas_px` pixels or more."""
    y_px, height, render = painter.frame_window(1)
    window = Window(y_px, 0, height, math.ceil(canvas_px / height))
    phase = "canvas for repetition"
    picture = yield from render_canvas(painter, render, window, seed, workers, phase)
    config = painter.model.recipe.generator
    period_px = config.period_cells * config.stride
    return repetition(picture, photographs.pictures, period_px, seed)
