"""The store: what is in it is whole, is this picture, and is all there is to a resume."""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from pictures import blocks_of, digest, empty, filled, noisy, paint

from infinite_render.errors import IdentityMismatch, StoreError, UnreadableBlocks
from infinite_render.rendering import shards
from infinite_render.rendering.layout import level_shapes
from infinite_render.rendering.levels import catch_up, halve
from infinite_render.rendering.store import (
    Block,
    create_store,
    discard_store,
    name_blocks,
    open_or_create,
    open_store,
)

PICTURE = noisy(1300, 900)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store of PICTURE, to be read only."""
    path = tmp_path_factory.mktemp("store") / "sea.zarr"
    filled(path, PICTURE).close()
    return path


def test_what_was_painted_is_what_is_read_through_any_window(whole: Path) -> None:
    store = open_store(whole)
    for window in [(0, 0, 1300, 900), (255, 255, 2, 2), (1299, 899, 1, 1), (200, 100, 700, 512)]:
        y, x, height, width = window
        assert np.array_equal(store.read(*window), PICTURE[y : y + height, x : x + width])


def test_a_window_outside_the_canvas_is_refused(whole: Path) -> None:
    with pytest.raises(ValueError, match="leaves level 0"):
        open_store(whole).read(1200, 0, 101, 10)


def test_black_blocks_are_stored_like_any_other(tmp_path: Path) -> None:
    black = np.zeros((500, 300, 3), dtype=np.uint8)
    filled(tmp_path / "night.zarr", black).close()
    store = open_store(tmp_path / "night.zarr", "r+")
    assert store.blocks_left() == []
    paint(store, black, blocks_of(store))  # once more: this must not make them vanish
    assert store.blocks_left() == []
    assert store.verify() == []
    assert not store.read(0, 0, 500, 300).any()


def test_the_picture_opens_in_zarr_and_ome_zarr(whole: Path) -> None:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    level = np.asarray(zarr.open_array(whole / "0")[:])
    assert np.array_equal(np.moveaxis(level, 0, -1), PICTURE)
    location = parse_url(whole)
    assert location is not None
    (node,) = Reader(location)()
    assert [level.shape[1:] for level in node.data] == level_shapes(1300, 900)
    assert [axis["name"] for axis in node.metadata["axes"]] == ["c", "y", "x"]
    assert np.array_equal(np.asarray(node.data[0]), np.moveaxis(PICTURE, -1, 0))


@pytest.mark.parametrize("pixel_size_um", [None, 0.25])
def test_the_metadata_is_valid_ome_zarr(tmp_path: Path, pixel_size_um: float | None) -> None:
    from ome_zarr_models.v05 import Image

    create_store(
        tmp_path / "a.zarr",
        3000,
        700,
        block_px=512,
        identity={"seed": 1},
        pixel_size_um=pixel_size_um,
    ).close()
    image = Image.from_zarr(zarr.open_group(tmp_path / "a.zarr", mode="r"))
    (multiscale,) = image.ome_attributes.multiscales
    assert [dataset.path for dataset in multiscale.datasets] == ["0", "1", "2", "3"]
    unit = None if pixel_size_um is None else "micrometer"
    assert [axis.unit for axis in multiscale.axes] == [None, unit, unit]
    scale = multiscale.datasets[2].coordinateTransformations[0].model_dump()
    assert scale["scale"] == [1.0, *[4 * (pixel_size_um or 1.0)] * 2]


def test_halving_is_the_mean_rounded_half_to_even() -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, 400, 300), dtype=np.uint8)
    means = values.reshape(3, 200, 2, 150, 2).mean(axis=(2, 4))
    assert np.array_equal(halve(values), np.rint(means).astype(np.uint8))


def test_halving_counts_an_odd_edge_twice() -> None:
    planes = np.array([[[10, 20, 30], [10, 20, 30], [50, 60, 70]]], dtype=np.uint8)
    assert halve(planes).tolist() == [[[15, 30], [55, 70]]]


def test_every_level_is_the_level_below_it_halved_whole(whole: Path) -> None:
    store = open_store(whole)
    planes = np.ascontiguousarray(np.moveaxis(PICTURE, -1, 0))
    for level, shape in enumerate(store.shapes):
        assert np.array_equal(store.read_planes(0, 0, *shape, level), planes)
        planes = halve(planes)
    assert store.levels == 3


@pytest.mark.parametrize("order", ["reverse", "columns", "random"])
def test_the_order_of_the_blocks_changes_no_byte(tmp_path: Path, whole: Path, order: str) -> None:
    store = empty(tmp_path / "sea.zarr", PICTURE)
    blocks = blocks_of(store)
    if order == "reverse":
        blocks.reverse()
    elif order == "columns":
        blocks.sort(key=lambda block: block[1])
    else:
        random.Random(3).shuffle(blocks)
    paint(store, PICTURE, blocks)
    assert digest(tmp_path / "sea.zarr") == digest(whole)


PAINT_ON = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from pictures import *
from infinite_render.rendering.levels import catch_up
from infinite_render.rendering.store import open_or_create
picture = noisy(1300, 900)
store = open_or_create(Path(sys.argv[1]), 1300, 900, block_px=256, chunk_px=64,
    identity={"seed": 7, "model": {"digest": "abc"}, "origin": [0, 512]})
assert store.verify() == [] and not store.damaged
catch_up(store)
print("painting", flush=True)
paint(store, picture, store.blocks_left())
"""


def test_a_store_killed_again_and_again_is_the_undisturbed_one(tmp_path: Path, whole: Path) -> None:
    path = tmp_path / "sea.zarr"
    command = [sys.executable, "-c", PAINT_ON, str(path), str(Path(__file__).parent)]
    after_s = random.Random(11)
    kills = 0
    while kills < 6:
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(after_s.uniform(0, 0.03))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        process.stdout.close()
        if (path / "2" / "c").exists():
            break
    assert kills >= 2
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert digest(path) == digest(whole)


def test_a_level_that_a_killed_run_did_not_reach_is_made_by_the_next(
    tmp_path: Path, whole: Path
) -> None:
    store = empty(tmp_path / "sea.zarr", PICTURE)
    for iy, ix in blocks_of(store):
        y, x, height, width = store.box(iy, ix)
        store.write_block(iy, ix, PICTURE[y : y + height, x : x + width])
    catch_up(store)
    assert digest(tmp_path / "sea.zarr") == digest(whole)


def garbage_inside(data: bytes) -> bytes:
    return data[:1000] + bytes(64) + data[1064:]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "garbage inside": garbage_inside,
    "one bit": lambda data: data[:777] + bytes([data[777] ^ 1]) + data[778:],
    "all garbage": lambda data: random.Random(1).randbytes(len(data)),
    "cut short": lambda data: data[:-1],
    "cut in half": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "longer": lambda data: data + b"x",
    "garbage in the index": lambda data: data[:-40] + bytes(16) + data[-24:],
}
SEEN_AT_OPENING = set(DAMAGE) - {"garbage inside", "one bit"}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("block", [Block(0, 1, 2), Block(0, 5, 3), Block(1, 1, 0)])
def test_a_damaged_shard_is_found_named_and_made_again(
    tmp_path: Path, damage: str, block: Block
) -> None:
    path = tmp_path / "sea.zarr"
    filled(path, PICTURE).close()
    undamaged = digest(path)
    level, iy, ix = block
    shard = path / str(level) / "c" / "0" / str(iy) / str(ix)
    shard.write_bytes(DAMAGE[damage](shard.read_bytes()))

    with open_store(path, "r+") as store:
        assert store.damaged == ((block,) if damage in SEEN_AT_OPENING else ())
        assert store.has_block(iy, ix, level) == (damage not in SEEN_AT_OPENING)
        with pytest.raises(UnreadableBlocks, match=r"block \(\d, \d\).* is damaged; ") as caught:
            store.read(*store.box(iy, ix, level), level)
        assert caught.value.blocks == (block,)
        assert store.verify() == ([] if damage in SEEN_AT_OPENING else [block])
        store.drop_block(iy, ix, level)
        paint(store, PICTURE, store.blocks_left())
        catch_up(store)
        assert store.verify() == []
    assert digest(path) == undamaged


def test_a_damaged_edge_block_is_written_over_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "sea.zarr"
    filled(path, PICTURE).close()
    undamaged = digest(path)
    shard = path / "0" / "c" / "0" / "5" / "3"
    shard.write_bytes(garbage_inside(shard.read_bytes()))
    with open_store(path, "r+") as store:
        paint(store, PICTURE, [(5, 3)])
    assert digest(path) == undamaged


def test_a_window_with_a_block_not_painted_yet_is_refused_not_black(tmp_path: Path) -> None:
    store = empty(tmp_path / "sea.zarr", PICTURE)
    paint(store, PICTURE, [(0, 0), (1, 1)])
    assert store.read(0, 0, 256, 256).shape == (256, 256, 3)
    with pytest.raises(UnreadableBlocks, match=r"blocks \(0, 1\), \(1, 0\) are not rendered yet"):
        store.read(0, 0, 300, 300)


def test_what_a_killed_write_left_is_removed_when_writing_goes_on(tmp_path: Path) -> None:
    store = filled(tmp_path / "sea.zarr", PICTURE)
    store.close()
    before = digest(store.path)
    stray = store.shard_path(0, 0).with_name("0.partial")
    stray.write_bytes(b"half a shard")
    open_store(store.path)
    assert stray.exists()
    open_store(store.path, "r+").close()
    assert digest(store.path) == before


def test_a_shard_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = empty(tmp_path / "sea.zarr", PICTURE)
    shard = store.shard_path(0, 0)
    seen = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        fsync(descriptor)
        seen.append((os.fstat(descriptor).st_size, shard.exists()))

    monkeypatch.setattr(os, "fsync", watched)
    paint(store, PICTURE, [(0, 0)])
    assert seen == [(shard.stat().st_size, False)]


def test_progress_is_told_block_by_block(whole: Path) -> None:
    told: list[Block] = []
    store = open_store(whole)
    assert store.verify(told.append) == []
    assert len(told) == sum(rows * columns for rows, columns in map(store.grid, range(3)))


def test_another_picture_is_refused_with_both_values(tmp_path: Path) -> None:
    path = tmp_path / "sea.zarr"
    empty(path, PICTURE).close()
    identity: dict[str, Any] = {"seed": 7, "model": {"digest": "abc"}, "origin": (0, 512)}
    go_on = functools.partial(open_or_create, path, block_px=256, chunk_px=64)
    go_on(1300, 900, identity=identity).close()
    cases: list[tuple[int, dict[str, Any], str]] = [
        (1300, {"seed": 8}, "seed is 7 there, 8 here"),
        (1300, {"model": {"digest": "d"}}, r"model\.digest is 'abc' there, 'd' here"),
        (1301, {}, "height is 1300 there, 1301 here"),
        (1300, {"style": 1}, "style is nothing there, 1 here"),
    ]
    for height, other, said in cases:
        with pytest.raises(IdentityMismatch, match=said):
            go_on(height, 900, identity=identity | other)


def test_a_second_writer_is_refused_and_readers_are_not(tmp_path: Path) -> None:
    store = empty(tmp_path / "sea.zarr", PICTURE)
    with pytest.raises(StoreError, match="another process is writing"):
        open_store(store.path, "r+")
    assert open_store(store.path).identity == store.identity
    store.close()
    open_store(store.path, "r+").close()


def test_a_store_open_for_reading_is_not_written(whole: Path) -> None:
    with pytest.raises(StoreError, match="open for reading"):
        paint(open_store(whole), PICTURE, [(0, 0)])


def test_what_is_none_of_ours_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello")
    (tmp_path / "folder").mkdir()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "zarr.json").write_text('{"attr')
    (tmp_path / "half").mkdir()
    about = {"node_type": "group", "attributes": {"infrender": {"identity": {}}}}
    (tmp_path / "half" / "zarr.json").write_text(json.dumps(about))
    zarr.create_group(store=tmp_path / "other.zarr")
    for name, said in [
        ("nowhere", "no such directory"),
        ("note.txt", "not a zarr store"),
        ("folder", "not a zarr store"),
        ("torn", "is damaged"),
        ("half", "is damaged"),
        ("other.zarr", "infrender did not write"),
    ]:
        with pytest.raises(StoreError, match=said):
            open_store(tmp_path / name)


def test_a_store_is_not_made_over_anything(whole: Path) -> None:
    with pytest.raises(StoreError, match="exists already"):
        create_store(whole, 10, 10, block_px=64, chunk_px=64, identity={})


def test_only_a_store_of_ours_is_discarded(tmp_path: Path) -> None:
    zarr.create_group(store=tmp_path / "other.zarr")
    with pytest.raises(StoreError, match="infrender did not write"):
        discard_store(tmp_path / "other.zarr")
    store = filled(tmp_path / "sea.zarr", PICTURE)
    with pytest.raises(StoreError, match="another process is writing"):
        discard_store(store.path)
    store.close()
    discard_store(store.path)
    assert [file.name for file in tmp_path.iterdir()] == ["other.zarr"]


@pytest.mark.parametrize("shape", [(256, 256, 4), (256, 255, 3)])
def test_a_block_of_the_wrong_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    store = empty(tmp_path / "sea.zarr", PICTURE)
    with pytest.raises(ValueError, match="block"):
        store.write_block(0, 0, np.zeros(shape, dtype=np.uint8))


def test_an_absent_shard_is_neither_whole_nor_intact(tmp_path: Path) -> None:
    assert not shards.is_whole(tmp_path / "0", 16, 16)
    assert not shards.is_intact(tmp_path / "0", 16, 16)


def test_many_blocks_are_named_briefly() -> None:
    assert name_blocks([(0, 0, n) for n in range(20)]).endswith("(0, 7) and 12 more are")
