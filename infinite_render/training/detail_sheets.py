"""Sheets of the detail ladder, 1:1: a photograph's coarsest level enlarged by bicubic
interpolation, climbed by the ladder, and what the photograph shows there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyvips
import torch
import torch.nn.functional as F
from torch import Tensor

from infinite_render.files import replace_file
from infinite_render.geometry import Window, detail_stage, windows_given
from infinite_render.nn.detail import DetailStep
from infinite_render.pixels import Pixels
from infinite_render.training.detail_data import DetailPhotographs
from infinite_render.training.sheets import GAP_PX, to_image

SHEET_SEED = 7
ROWS = 6
GIVEN_PX = 72  # side of what is climbed, at most, at depth 0
STEPS = 3


def climbed(step: DetailStep, rgb: Tensor, steps: int, numbers: torch.Generator) -> Tensor:
    """What `steps` steps paint from rgb [1,3,h,w] of depth 0."""
    for zoom in range(steps):
        rgb = step(rgb, zoom, torch.randn(1, 1, *rgb.shape[2:], generator=numbers))
    return rgb


def to_rgb(pixels: Pixels) -> Tensor:
    """uint8 [h,w,3] -> float32 [1,3,h,w] in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float() / 127.5 - 1


@torch.no_grad()
def sheet_row(step: DetailStep, levels: list[Pixels], numbers: torch.Generator) -> list[Tensor]:
    """[bicubic, climbed, photograph] of the middle of a photograph, float32 [3,H,W] each."""
    steps = min(STEPS, len(levels) - 1)
    coarse, fine = levels[0], levels[steps]
    side = min(GIVEN_PX, *coarse.shape[:2])
    y, x = int((coarse.shape[0] - side) * 0.75), (coarse.shape[1] - side) // 3
    given = Window(y, x, side, side)
    rgb = to_rgb(coarse[y : y + side, x : x + side])
    picture = climbed(step.cpu(), rgb, steps, numbers)
    window = given
    for _ in range(steps):
        window = windows_given(detail_stage(step.low_layers), window)[-1]

    # Pixel q of depth 0 is pixel 2^steps q: bicubic interpolation on the same lattice.
    scale = 1 << steps
    bicubic = F.interpolate(rgb, size=(side - 1) * scale + 1, mode="bicubic", align_corners=True)
    top, left = window.y - y * scale, window.x - x * scale
    bicubic = bicubic[0, :, top : top + window.height, left : left + window.width]
    bottom, right = window.y + window.height, window.x + window.width
    photograph = to_rgb(fine[window.y : bottom, window.x : right])[0]
    return [bicubic, picture[0], photograph]


def write_sheet(
    step: DetailStep, photographs: DetailPhotographs, folder: Path, images: int
) -> Path:
    """Write `detail-IMAGES.png` into `folder`; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = torch.Generator().manual_seed(SHEET_SEED)
    chosen = sorted(photographs.photographs, key=len, reverse=True)[:ROWS]
    pictures = []
    for entries in chosen:
        pictures += sheet_row(step, [photographs.picture(entry) for entry in entries], numbers)
    tiles = [to_image(rgb) for rgb in pictures]
    sheet = pyvips.Image.arrayjoin(tiles, across=3, shim=GAP_PX)
    content = bytes(sheet.write_to_buffer(".png"))
    path = folder / f"detail-{images:09d}.png"
    replace_file(path, lambda file: file.write_bytes(content))
    return path
