"""Photographs on a plane: kept to the bit, at every level, with one hash and no visible border."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import digest as tree_digest
from pinned_scenes import around, ladder_model, picture, random_pin

from infinite_render.errors import IdentityMismatch, RecipeError, UsageError
from infinite_render.evaluation.borders import border_of_photograph
from infinite_render.fields.latents import SeededLatents
from infinite_render.fields.pinned_styles import style_of
from infinite_render.fields.pins import PinnedLatents
from infinite_render.fields.styles import OneStyle
from infinite_render.geometry import Window
from infinite_render.nn.scale import halve
from infinite_render.pixels import to_uint8
from infinite_render.rendering.around import Pinned, scene_around
from infinite_render.rendering.canvas import Canvas, paint_canvas
from infinite_render.rendering.pinned import (
    FADE_ABOVE_PX,
    FADE_BASE_PX,
    Photograph,
    fades_of,
    from_bytes,
    pyramid_of,
)
from infinite_render.rendering.recipe import read_recipe
from infinite_render.rendering.repaint import canvas_of
from infinite_render.rendering.scene import Scene
from infinite_render.rendering.store import open_store

DEPTHS = [0, 2]
WINDOW = Window(-64, 0, 250, 320)
# At depth 0 and 2: no side on a border of cells or blocks, nor on the lattice of any level.
BOXES = {0: [Window(-21, 67, 90, 130)], 2: [Window(-21, 67, 90, 130)]}
TWO = [Window(-21, 13, 90, 70), Window(3, 151, 77, 101)]


def scene(depth: int, precision: str = "float32") -> Scene:
    return around(*BOXES[depth], depth=depth, precision=precision)[0]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_the_photographs_own_pixels_are_kept_bit_for_bit(depth: int, precision: str) -> None:
    painted, pixels = around(*TWO, depth=depth, precision=precision)
    got = painted.render(*WINDOW, depth=depth)
    inside = np.zeros(got.shape[:2], bool)
    for box, own in zip(TWO, pixels, strict=True):
        assert np.array_equal(got[box.within(WINDOW)], own)
        inside[box.within(WINDOW)] = True
    assert got[~inside].std() > 5


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_window_of_a_pinned_plane_is_that_window(depth: int) -> None:
    whole = scene(depth).render(*WINDOW, depth=depth, workers=2)
    other = scene(depth)
    drawn = random.Random(depth)
    box = BOXES[depth][0]
    parts = [Window(box.y - 1 - WINDOW.y, box.x - 1 - WINDOW.x, 2, 140), Window(0, 0, 1, 1)]
    for _ in range(5):
        top, left = drawn.randrange(250), drawn.randrange(320)
        parts.append(Window(top, left, drawn.randint(1, 250 - top), drawn.randint(1, 320 - left)))
    for y, x, height, width in parts:
        got = other.render(WINDOW.y + y, WINDOW.x + x, height, width, depth=depth)
        assert np.array_equal(got, whole[y : y + height, x : x + width]), (y, x, height, width)


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_pinned_canvas_has_one_hash(depth: int, tmp_path: Path) -> None:
    """Any workers, any order of blocks, killed and resumed, or part of a larger canvas."""
    hashes = set()
    for name, workers, order in (
        ("one", 1, list),
        ("two", 2, lambda blocks: list(blocks)[::-1]),
        ("drawn", 3, lambda blocks: random.Random(1).sample(list(blocks), len(blocks))),
    ):
        out = tmp_path / name / "x.zarr"
        out.parent.mkdir()
        list(paint_canvas(Canvas(scene(depth), WINDOW, depth), out, workers=workers, order=order))
        hashes.add(tree_digest(out))

    out = tmp_path / "resumed" / "x.zarr"
    out.parent.mkdir()
    for blocks in (2, 3, 99):
        run = paint_canvas(Canvas(scene(depth), WINDOW, depth), out)
        for _ in zip(run, range(blocks), strict=False):
            pass
        run.close()
    hashes.add(tree_digest(out))
    assert len(hashes) == 1

    with open_store(out) as store:
        small = store.read(0, 0, *WINDOW[2:])
    larger = Window(-128, -64, 400, 500)
    whole = scene(depth).render(*larger, depth=depth, workers=2)
    assert np.array_equal(whole[WINDOW.within(larger)], small)


def test_a_photograph_is_pinned_at_every_level_of_the_ladder() -> None:
    """What is painted at a level, halved, is what was painted below, photograph and all."""
    depth, box = 2, BOXES[2][0]
    painted, pixels = around(box, depth=depth)
    levels = pyramid_of(Photograph(pixels[0], box[:2], depth))
    assert [level.shape[1:] for level in levels] == [(23, 33), (45, 65), (90, 130)]
    for level in (0, 1):
        inner = Photograph(pixels[0], box[:2], depth).window_at(level)
        got = painted.render(*inner, depth=level)
        assert np.array_equal(got, to_uint8(torch.from_numpy(levels[level])))
    # Deeper than the photograph is fine, the ladder goes on from its pixels.
    finer = painted.render(2 * box.y, 2 * box.x, 2 * box.height, 2 * box.width, depth=3)
    low = halve(torch.from_numpy(from_bytes(finer))[None])[0].numpy()
    near = np.abs(low - levels[2][:, 2:-2, 2:-2][:, : low.shape[1], : low.shape[2]])
    assert np.median(near) < 0.02


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_border_of_a_photograph_does_not_show(depth: int) -> None:
    """The pins here repaint nothing, so that all is up to the membrane."""
    painted, pixels = around(*BOXES[depth], depth=depth)
    got = painted.render(*WINDOW, depth=depth)
    box = BOXES[depth][0]
    seen = Window(box.y - WINDOW.y, box.x - WINDOW.x, *box[2:])
    pasted = Scene(
        ladder_model(),
        precision="float32",
        latents=painted.latents,
        styles=painted.styles,
        shift_cell=painted.shift_cell,
    ).render(*WINDOW, depth=depth)
    pasted[box.within(WINDOW)] = pixels[0]
    bare, membrane = (border_of_photograph(p, seen, 16).ratio for p in (pasted, got))
    assert bare > 1.5
    assert membrane < 1.1


def test_nothing_changes_beyond_the_frame_at_depth_0() -> None:
    with_it = around(*TWO)[0]
    without = Scene(
        ladder_model(),
        precision="float32",
        latents=with_it.latents,
        styles=with_it.styles,
        shift_cell=with_it.shift_cell,
    )
    window = Window(-128, -64, 300, 400)
    changed = (with_it.render(*window) != without.render(*window)).any(axis=2)
    for box in TWO:
        y, x, height, width = box
        f = FADE_BASE_PX
        reach = Window(y - f, x - f, height + 2 * f, width + 2 * f)
        assert changed[reach.within(window)].mean() > 0.8
        changed[reach.within(window)] = False
    assert not changed.any()


def test_a_frame_never_reaches_over_another_photograph() -> None:
    left, right = Window(0, 0, 50, 40), Window(20, 45, 50, 40)
    far = FADE_BASE_PX
    assert fades_of(left, [right], 0) == (far, far, far, 5)
    assert fades_of(right, [left], 0) == (far, 5, far, far)
    assert fades_of(left, [Window(200, 0, 9, 9)], 1) == (FADE_ABOVE_PX,) * 4


def test_far_columns_are_as_exact_as_near_ones() -> None:
    """A pin moved by whole cells paints the same picture there, and brings its coordinates."""
    model = ladder_model()
    box = Window(8, 72, 40, 60)
    pin = random_pin(model, box[2:], box[:2], 0, shift_cell=(0.25, 0.5))
    moved = pin.moved((0, 13 * 10**9))
    far = 13 * 10**9 * 8
    inside = []
    for own, x in ((pin, 0), (moved, far)):
        bare = Scene(
            model,
            precision="float32",
            latents=PinnedLatents(SeededLatents(5), (own,)),
            styles=OneStyle(style_of(own)),
            shift_cell=own.shift_cell,
        )
        inside.append(bare.render(box.y, box.x + x, *box[2:]))
    # The blocks differ in where the photograph lies in them, and so in their rounding.
    assert np.abs(inside[0].astype(int) - inside[1]).max() <= 1


def test_the_identity_names_pins_photographs_and_places(tmp_path: Path) -> None:
    canvas = Canvas(scene(2), WINDOW, 2)
    identity = canvas.recipe.store_identity
    pin = identity["pins"][0]
    assert pin["digest"] == identity["styles"]["pin"]
    assert identity["photographs"]["laid"][0]["window"] == list(BOXES[2][0])
    assert identity["shift_cell"] == [0.3, 2.0]
    out = tmp_path / "x.zarr"
    list(paint_canvas(canvas, out))
    with pytest.raises(RecipeError, match=r"painted around photographs.*outpaint"):
        canvas_of(read_recipe(out), out)
    other, _ = around(*BOXES[2], depth=2, seed=6)
    with pytest.raises(IdentityMismatch, match="seed"):
        Canvas(other, WINDOW, 2).open_store(out)


def test_what_cannot_be_pinned_is_refused() -> None:
    model = ladder_model()
    pixels = picture(40, 60)

    def pinned(y: int, x: int, depth: int = 0) -> Pinned:
        return Pinned(random_pin(model, (40, 60), (y, x), depth), pixels)

    with pytest.raises(UsageError, match=r"0,0 \(60 x 40 px\) and 0,39 .* overlap"):
        Scene(model, photographs=[Photograph(pixels, (0, 0)), Photograph(pixels, (39, 0))])
    with pytest.raises(UsageError, match="less than a cell of latents"):
        scene_around(model, [pinned(0, 0), pinned(0, 63)])
    with pytest.raises(UsageError, match="depth 1 and 0 cannot lie on one plane"):
        scene_around(model, [pinned(0, 0, 1), pinned(0, 300)])
    with pytest.raises(UsageError, match="too small to be pinned at depth 3"):
        Scene(model, photographs=[Photograph(pixels[:8], (0, 0), 3)])
    with pytest.raises(UsageError, match="--depth 9 is not in"):
        Scene(model, photographs=[Photograph(np.zeros((4096, 4096, 3), np.uint8), (0, 0), 9)])
    with pytest.raises(UsageError, match="cylinder"):
        Scene(model, photographs=[Photograph(pixels, (0, 0))], wrap_cells=20)
    with pytest.raises(UsageError, match=r"60 x 40 px, not this one of 60 x 39 px"):
        scene_around(model, [pinned(0, 0)._replace(pixels=pixels[:39])])
    stranger = replace(pinned(0, 0).pin, model_digest="f" * 64)
    with pytest.raises(UsageError, match="another model"):
        scene_around(model, [Pinned(stranger, pixels)])
    other = replace(pinned(0, 0).pin, photograph_sha256="f" * 64)
    with pytest.raises(UsageError, match="repaints another photograph"):
        scene_around(model, [Pinned(other, pixels)])


def test_bytes_come_back_as_they_were() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    assert np.array_equal(to_uint8(torch.from_numpy(from_bytes(pixels).copy())), pixels)
