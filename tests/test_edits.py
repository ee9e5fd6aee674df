"""Local edits: what a box reaches and nothing else, in the plane and in a store that is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures import digest as tree_digest
from pictures import prepare
from small_models import SMALL_DETAIL, random_model

from infinite_render.errors import IdentityMismatch
from infinite_render.fields.latents import SeededLatents
from infinite_render.fields.reseeded import Reseed, ReseededLatents, reseed_box
from infinite_render.fields.shapes import Disc, Shapes
from infinite_render.fields.styles import OneStyle, Style
from infinite_render.geometry import Window
from infinite_render.rendering.canvas import Canvas, paint_canvas
from infinite_render.rendering.scene import Picture, Scene
from infinite_render.rendering.store import open_store

WINDOW = Window(-128, 64, 500, 1000)
BOX = Reseed(Window(-3, 40, 4, 3), 77)


def scene(*reseeds: Reseed, wrap: int | None = None, precision: str = "float32") -> Scene:
    latents = ReseededLatents(SeededLatents(5), reseeds) if reseeds else SeededLatents(5)
    model = random_model(detail=SMALL_DETAIL)
    return Scene(model, precision=precision, latents=latents, wrap_cells=wrap)


def changed(before: Picture, after: Picture, window: Window) -> Window:
    """The smallest window of the plane that holds all pixels that differ."""
    rows, columns = np.nonzero((before != after).any(axis=2))
    y0, x0 = int(rows.min()), int(columns.min())
    height, width = int(rows.max()) - y0 + 1, int(columns.max()) - x0 + 1
    return Window(window.y + y0, window.x + x0, height, width)


def holds(outer: Window, inner: Window) -> bool:
    return outer.y_span.holds(inner.y_span) and outer.x_span.holds(inner.x_span)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("depth", [0, 1])
def test_a_box_changes_what_its_latents_reach_and_nothing_else(depth: int, precision: str) -> None:
    window = Window(WINDOW.y << depth, (WINDOW.x + 200) << depth, 260 << depth, 300 << depth)
    before = scene(precision=precision).render(*window, depth=depth)
    after = scene(BOX, precision=precision).render(*window, depth=depth)
    reach = scene().plan(depth).affected(BOX.window_cell)
    assert holds(window, reach)
    found = changed(before, after, window)
    assert holds(reach, found)
    assert found.height > 0.8 * reach.height  # and it is no looser than it must be
    assert found.width > 0.8 * reach.width


def test_a_style_changes_what_its_nodes_reach_and_beyond_it_only_rounding() -> None:
    ground = OneStyle(Style(5))
    disc = Disc(0.0, 20.0, 2.0, Style(9))
    nodes = Window(-2, 18, 5, 5)  # within radius + fade / 2 of the centre
    window = Window(-130, 20, 260, 300)
    before = scene().render(*window)
    model = random_model(detail=SMALL_DETAIL)
    field = Shapes(ground, (disc,), 1.0)
    after = Scene(model, seed=5, precision="float32", styles=field).render(*window)
    reach = scene().plan(0).affected(nodes)
    assert holds(window, reach)
    found = changed(before, after, window)
    # Beyond, the blocks now painted by the blended networks differ by their rounding alone.
    apart = np.abs(before.astype(int) - after.astype(int)).max(axis=2)
    rows, columns = reach.within(window)
    apart[rows, columns] = 0
    assert apart.max() <= 1
    assert (apart > 0).mean() < 1e-3
    assert found.height >= reach.height - 16


def test_the_later_of_two_boxes_holds_where_they_overlap() -> None:
    over = Reseed(Window(-2, 41, 5, 5), 78)
    latents = ReseededLatents(SeededLatents(5), (BOX, over))
    z = latents.z_local(Window(-6, 36, 14, 14), 4)
    for box, rows, columns in ((BOX, slice(3, 4), slice(4, 7)), (over, slice(4, 9), slice(5, 10))):
        alone = SeededLatents(box.seed).z_local(Window(-6, 36, 14, 14), 4)
        assert np.array_equal(z[:, rows, columns], alone[:, rows, columns])


def test_a_box_is_cut_at_the_seam_of_a_cylinder() -> None:
    found = reseed_box(Window(0, 120, 16, 40), 5, 8, wrap_cells=17)
    assert found == [Reseed(Window(0, 15, 2, 2), 5), Reseed(Window(0, 0, 2, 3), 5)]
    whole = reseed_box(Window(0, 3, 8, 10**6), 5, 8, wrap_cells=17)
    assert whole == [Reseed(Window(0, 0, 1, 17), 5)]


def two_stores(folder: Path) -> tuple[Path, Path]:
    """Places of one name, which a store holds, in two folders."""
    for name in ("kept", "fresh"):
        (folder / name).mkdir()
    return folder / "kept" / "x.zarr", folder / "fresh" / "x.zarr"


def blocks_painted(canvas: Canvas, out: Path, **options: object) -> int:
    steps = list(paint_canvas(canvas, out, **options))  # type: ignore[arg-type]
    return sum(step.phase == "painting" for step in steps) - 1


@pytest.mark.parametrize("wrap", [None, 125])
def test_in_a_kept_store_only_the_blocks_reached_are_painted_again(
    tmp_path: Path, wrap: int | None
) -> None:
    store, fresh = two_stores(tmp_path)
    plain = Canvas(scene(wrap=wrap), WINDOW)
    edited = Canvas(scene(*reseed_box(Window(8, 90, 9, 9), 7, 8, wrap), wrap=wrap), WINDOW)
    total = blocks_painted(plain, store)
    before = tree_digest(store)
    painted = blocks_painted(edited, store)
    assert 0 < painted < total / 2
    blocks_painted(edited, fresh)
    assert tree_digest(store) == tree_digest(fresh)
    assert prepare(plain, store)
    blocks_painted(plain, store)
    assert tree_digest(store) == before


def test_an_edited_picture_keeps_the_store_it_is_made_from(tmp_path: Path) -> None:
    store, out = tmp_path / "kept.zarr", tmp_path / "wall.png"
    plain, edited = Canvas(scene(), WINDOW), Canvas(scene(BOX), WINDOW)
    total = blocks_painted(plain, out, store_path=store)
    assert prepare(edited, out, store_path=store, overwrite=True)
    assert 0 < blocks_painted(edited, out, store_path=store) < total
    with open_store(store) as kept:
        assert np.array_equal(kept.read(0, 0, *WINDOW[2:]), edited.scene.render(*WINDOW))


def test_a_killed_edit_goes_on(tmp_path: Path) -> None:
    store, fresh = two_stores(tmp_path)
    blocks_painted(Canvas(scene(), WINDOW), store)
    edited = Canvas(scene(BOX), WINDOW)
    steps = paint_canvas(edited, store)
    for _ in range(3):
        next(steps)
    steps.close()
    blocks_painted(edited, store)
    blocks_painted(edited, fresh)
    assert tree_digest(store) == tree_digest(fresh)


def test_a_store_that_differs_in_more_is_another_picture(tmp_path: Path) -> None:
    store = tmp_path / "kept.zarr"
    blocks_painted(Canvas(scene(), WINDOW), store)
    before = tree_digest(store)
    other = Scene(random_model(seed=1), latents=ReseededLatents(SeededLatents(5), (BOX,)))
    with pytest.raises(IdentityMismatch):
        prepare(Canvas(other, WINDOW), store)
    assert tree_digest(store) == before
