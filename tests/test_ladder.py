"""The figures of the detail ladder, on steps whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from infinite_render.config import DetailConfig
from infinite_render.evaluation.distances import Features
from infinite_render.evaluation.ladder import course, enlarge, patch_figures
from infinite_render.evaluation.protocols import Pictures
from infinite_render.nn.detail import DetailStep, build_detail
from infinite_render.pixels import Pixels
from infinite_render.training.detail_data import halved

CONFIG = DetailConfig(low_dim=4, low_layers=1, up_dim=4, high_dim=4, zooms=2)


def silent() -> DetailStep:
    """A step that paints no detail: what it gives is its input, doubled."""
    step = build_detail(CONFIG)
    with torch.no_grad():
        step.rgb_weight.zero_()
    return step


def loud() -> DetailStep:
    torch.manual_seed(0)
    return build_detail(CONFIG)


def contrast(pictures: Pictures) -> Features:
    """Mean and deviation of each channel, of pixels and of their differences: [N,12]."""
    x = pictures.astype(np.float32)
    d = np.diff(x, axis=2)
    parts = [f(v, axis=(1, 2)) for v in (x, d) for f in (np.mean, np.std)]
    return np.asarray(np.concatenate(parts, axis=1), np.float32)


def photograph(seed: int) -> list[Pixels]:
    """Levels of a picture of noise, coarse to fine."""
    noise = np.random.default_rng(seed).integers(0, 256, (240, 280, 3), np.uint8)
    levels = [noise]
    for _ in range(2):
        levels.append(halved(levels[-1]))
    return levels[::-1]


def test_a_step_without_detail_adds_none() -> None:
    rgb = torch.rand(1, 3, 60, 60) - 0.5
    figures = course(silent(), rgb, steps=4, side_px=48)
    assert [figure.depth for figure in figures] == [1, 2, 3, 4]
    for figure in figures:
        assert figure.detail < 1e-3
        assert figure.colour < 1e-3
        assert figure.drift < 0.5  # the bytes' own rounding, halved


def test_a_step_with_detail_adds_some_and_keeps_its_course() -> None:
    rgb = torch.rand(1, 3, 60, 60) - 0.5
    for figure in course(loud(), rgb, steps=6, side_px=48):
        assert figure.detail > 1
        if figure.beyond == 0:
            assert figure.drift < 0.5
        assert figure.colour < 1


def test_bicubic_enlargement_keeps_the_ladders_lattice() -> None:
    rgb = torch.rand(1, 3, 8, 9)
    enlarged = enlarge(rgb, 2)
    assert enlarged.shape == (1, 3, 29, 33)
    torch.testing.assert_close(enlarged[:, :, ::4, ::4], rgb)


@pytest.mark.parametrize("depth", [1, 2])
def test_patches_of_a_silent_ladder_are_as_far_as_plain_enlargement(depth: int) -> None:
    photographs = [photograph(seed) for seed in range(3)]
    figures = patch_figures(silent(), photographs, contrast, depth, patch_px=16)
    assert figures.depth == depth
    assert figures.patches > 20
    assert figures.frechet_bicubic > 1
    assert 0.5 < figures.frechet_ladder / figures.frechet_bicubic < 2
    few = patch_figures(silent(), photographs, contrast, depth, patch_px=16, most=7)
    assert few.patches == 7


def test_overlapping_patches_are_more_of_the_same() -> None:
    photographs = [photograph(0)]
    apart = patch_figures(silent(), photographs, contrast, 1, patch_px=16)
    close = patch_figures(silent(), photographs, contrast, 1, patch_px=16, stride_px=4)
    assert close.patches > 8 * apart.patches
    assert close.frechet_bicubic == pytest.approx(apart.frechet_bicubic, rel=0.5)
