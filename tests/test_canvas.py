"""A canvas has one hash: whatever the workers, the order, the kills, the form and the window."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from pictures import digest as tree_digest
from pictures import prepare
from small_models import SMALL, random_model

from infinite_render.config import DetailConfig
from infinite_render.errors import IdentityMismatch, OutputError, StoreError, UsageError
from infinite_render.geometry import Window
from infinite_render.models import Model
from infinite_render.nn.detail import build_detail
from infinite_render.rendering.canvas import (
    Canvas,
    Progress,
    paint_canvas,
    stream_blocks,
)
from infinite_render.rendering.preparation import is_painted
from infinite_render.rendering.recipe import read_recipe
from infinite_render.rendering.scene import Scene
from infinite_render.rendering.store import open_store

WINDOW = Window(-128, 64, 400, 700)
ORDERS = {
    "forward": list,
    "reverse": lambda blocks: list(blocks)[::-1],
    "random": lambda blocks: random.sample(list(blocks), len(blocks)),
}


def model_of(depth: int) -> Model:
    """The small random model; with a ladder when the picture needs one."""
    model = random_model()
    if depth == 0:
        return model
    config = DetailConfig(low_dim=8, low_layers=2, up_dim=8, high_dim=4, zooms=2)
    recipe = replace(model.recipe, detail=config)
    return replace(model, recipe=recipe, detail=build_detail(config).eval().requires_grad_(False))


def canvas_of(window: Window = WINDOW, depth: int = 0, seed: int = 5) -> Canvas:
    return Canvas(Scene(random_model(), seed=seed, precision="float32"), window, depth)


def paint(canvas: Canvas, out: Path, **options: object) -> list[Progress]:
    return list(paint_canvas(canvas, out, **options))  # type: ignore[arg-type]


def pixels_of(store_path: Path, window: Window | None = None) -> np.ndarray:
    with open_store(store_path) as store:
        return store.read(*(window or Window(0, 0, store.height, store.width)))


def sha(pixels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


@pytest.mark.parametrize("depth", [0, 2, 3])
def test_one_hash_for_every_worker_count_order_and_read(tmp_path: Path, depth: int) -> None:
    scene = Scene(model_of(depth), seed=5, precision="float32")
    seen = {}
    for workers in (1, 2, 3):
        for name, order in ORDERS.items():
            out = tmp_path / f"{workers}{name}.zarr"
            paint(Canvas(scene, WINDOW, depth), out, workers=workers, order=order)
            seen[workers, name] = sha(pixels_of(out))
            scene.forget()
    y, x, height, width = WINDOW
    seen["render"] = sha(scene.render(y, x, height, width, depth=depth))
    assert len(set(seen.values())) == 1, seen
    with open_store(tmp_path / "2random.zarr") as store:
        for y0, x0, h, w in [(60, 100, 70, 300), (0, 0, 1, 1), (333, 513, 67, 187)]:
            read = scene.render(y + y0, x + x0, h, w, depth=depth)
            assert (read == store.read(y0, x0, h, w)).all()


def test_a_canvas_grown_from_a_smaller_one_keeps_its_pixels(tmp_path: Path) -> None:
    small, large = tmp_path / "small.zarr", tmp_path / "large.zarr"
    paint(canvas_of(Window(0, 0, 200, 300)), small)
    paint(canvas_of(Window(-64, -128, 500, 600)), large, workers=2)
    assert (pixels_of(large, Window(64, 128, 200, 300)) == pixels_of(small)).all()


def test_an_interrupted_canvas_goes_on_and_is_the_uninterrupted_one(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole.tif", tmp_path / "broken.tif"
    stores = tmp_path / "a" / "s.zarr", tmp_path / "b" / "s.zarr"
    for store in stores:
        store.parent.mkdir()
    paint(canvas_of(), whole, store_path=stores[0])
    for stop_after in (1, 2, 3):
        steps = paint_canvas(canvas_of(), broken, store_path=stores[1], workers=2)
        for _ in range(stop_after + 1):
            next(steps)
        steps.close()
        assert not broken.exists()
        assert not list(tmp_path.glob(".*partial"))
    steps_of_last = paint(canvas_of(), broken, store_path=stores[1])
    assert any(step.kept_px > 0 for step in steps_of_last)
    assert broken.read_bytes() == whole.read_bytes()
    assert tree_digest(stores[0]) == tree_digest(stores[1])


SCRIPT = """
    import sys
    from pathlib import Path
    from infinite_render.geometry import Window
    from test_canvas import canvas_of
    from infinite_render.rendering.canvas import paint_canvas
    out, store = map(Path, sys.argv[1:])
    print("ready", flush=True)
    for step in paint_canvas(canvas_of(Window(0, 0, 1500, 1500)), out, store_path=store, workers=2):
        print(step.done_px, flush=True)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    script = textwrap.dedent(SCRIPT)
    command = [sys.executable, "-c", script, str(folder / "x.tif"), str(folder / "x.zarr")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent)


def test_kills_at_random_moments_leave_no_trace(tmp_path: Path) -> None:
    folders = tmp_path / "undisturbed", tmp_path / "killed"
    for folder in folders:
        folder.mkdir()
    process = start(folders[0])
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    begin = time.perf_counter()
    assert process.communicate()[0]
    whole_s = time.perf_counter() - begin
    kills = 0
    for _ in range(4):
        process = start(folders[1])
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(random.uniform(0.0, 0.5) * whole_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        process.stdout.close()
        if (folders[1] / "x.tif").exists():
            break
    assert kills >= 1
    process = start(folders[1])
    process.communicate()
    assert process.returncode == 0
    assert tree_digest(folders[0]) == tree_digest(folders[1])


def test_a_damaged_shard_is_found_named_and_painted_again(tmp_path: Path) -> None:
    out, store = tmp_path / "x.tif", tmp_path / "x.zarr"
    paint(canvas_of(), out, store_path=store)
    before, file_before = tree_digest(store), out.read_bytes()
    shard = store / "0" / "c" / "0" / "1" / "2"
    content = bytearray(shard.read_bytes())
    content[100:200] = bytes(100)
    shard.write_bytes(content)
    out.unlink()
    notices = [step.notice for step in paint(canvas_of(), out, store_path=store) if step.notice]
    assert len(notices) == 1
    assert "block (1, 2) is damaged" in notices[0]
    assert tree_digest(store) == before
    assert out.read_bytes() == file_before


def test_the_file_holds_the_store_and_the_recipe_paints_it_again(tmp_path: Path) -> None:
    out, store = tmp_path / "x.tif", tmp_path / "kept.zarr"
    canvas = canvas_of()
    paint(canvas, out, store_path=store, compression="deflate")
    assert (tifffile.imread(out, level=0) == pixels_of(store)).all()
    for source in (out, store):
        recipe = read_recipe(source)
        assert recipe == canvas.recipe
    assert is_painted(canvas, out)
    assert not is_painted(canvas_of(seed=6), out)


def test_the_hidden_store_goes_when_the_file_is_whole(tmp_path: Path) -> None:
    paint(canvas_of(), tmp_path / "x.png")
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


def test_a_store_of_another_picture_is_refused_with_both_values(tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    paint(canvas_of(seed=5), store)
    before = tree_digest(store)
    with pytest.raises(IdentityMismatch, match="seed is 5 there, 6 here"):
        prepare(canvas_of(seed=6), store)
    assert tree_digest(store) == before
    assert prepare(canvas_of(seed=6), store, overwrite=True)
    paint(canvas_of(seed=6), store)
    assert sha(pixels_of(store)) != sha(canvas_of(seed=5).scene.render(*WINDOW))


def test_what_is_not_ours_is_never_removed(tmp_path: Path) -> None:
    folder = tmp_path / "holiday.zarr"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(b"dear")
    with pytest.raises(StoreError):
        prepare(canvas_of(), folder, overwrite=True)
    assert (folder / "photo.jpg").read_bytes() == b"dear"


def test_a_finished_file_is_left_alone_and_another_one_refused(tmp_path: Path) -> None:
    out = tmp_path / "x.png"
    paint(canvas_of(), out)
    assert prepare(canvas_of(), out) is False
    with pytest.raises(OutputError, match="--overwrite"):
        prepare(canvas_of(seed=6), out)
    assert prepare(canvas_of(seed=6), out, overwrite=True)


@pytest.mark.parametrize(
    ("origin", "nearest"), [((100, 0), "128,0"), ((0, -70), "0,-64"), ((64, 33), "64,64")]
)
def test_an_origin_off_the_cells_proposes_the_nearest(origin: Sequence[int], nearest: str) -> None:
    with pytest.raises(UsageError, match=f"try {nearest}$"):
        canvas_of(Window(*origin, 10, 10))


def test_blocks_off_the_plane_s_own_lattice_cost_time_but_no_bit(tmp_path: Path) -> None:
    # The canvas starts in the middle of a block, so each of its shards meets four.
    window = Window(64, 64, 256, 256)
    canvas = canvas_of(window)
    out = tmp_path / "x.zarr"
    paint(canvas, out, workers=2)
    assert (pixels_of(out) == canvas.scene.render(0, 0, 400, 400)[64:320, 64:320]).all()


def test_the_stream_of_blocks_is_the_picture() -> None:
    canvas = canvas_of()
    whole = canvas.scene.render(*WINDOW)
    streamed = dict(stream_blocks(canvas, workers=2))
    assert sorted(streamed) == [(iy, ix) for iy in range(4) for ix in range(6)]
    for (iy, ix), pixels in streamed.items():
        part = whole[iy * 128 : iy * 128 + 128, ix * 128 : ix * 128 + 128]
        assert (pixels == part).all()


def test_a_model_is_named_by_its_ladder_too() -> None:
    assert model_of(1).recipe.generator == SMALL
    assert model_of(1).digest != model_of(0).digest
