"""What is checked before a canvas is painted, and that a mistake found there costs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import prepare
from small_models import SMALL, random_model

from infinite_render.config import RenderConfig
from infinite_render.errors import IdentityMismatch, OutputError, UsageError
from infinite_render.geometry import Window
from infinite_render.rendering import preparation
from infinite_render.rendering.canvas import Canvas, paint_canvas
from infinite_render.rendering.exports import export_store
from infinite_render.rendering.preparation import Readiness, check
from infinite_render.rendering.scene import Scene
from infinite_render.rendering.store import open_store

WINDOW = Window(0, 0, 200, 300)


def canvas_of(seed: int = 5, width: int = 300) -> Canvas:
    model = random_model(SMALL)
    assert model.recipe.render == RenderConfig(64, 128)
    window = WINDOW._replace(width=width)
    return Canvas(Scene(model, seed=seed, precision="float32"), window)


def paint(canvas: Canvas, out: Path, store: Path | None = None) -> None:
    for _ in paint_canvas(canvas, out, store_path=store):
        pass


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_tiles_that_are_not_ours_are_never_replaced(tmp_path: Path) -> None:
    kept = tmp_path / "sea_files" / "holiday.txt"
    kept.parent.mkdir()
    kept.write_text("dear")
    out, store = tmp_path / "sea.dzi", tmp_path / "x.zarr"
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="sea_files, which infrender did not write"):
            prepare(canvas_of(), out, overwrite=overwrite)
    paint(canvas_of(), store)
    with open_store(store) as opened, pytest.raises(OutputError, match="sea_files"):
        list(export_store(opened, out))
    assert kept.read_text() == "dear"


def test_tiles_of_ours_are_replaced(tmp_path: Path) -> None:
    out = tmp_path / "sea.dzi"
    paint(canvas_of(), out)
    assert prepare(canvas_of(seed=6), out, overwrite=True)
    paint(canvas_of(seed=6), out)
    assert preparation.is_painted(canvas_of(seed=6), out)


@pytest.mark.parametrize("name", ["nowhere/x.tif", "folder.tif"])
def test_a_store_is_removed_only_once_all_else_is_right(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.tif").mkdir()
    store = tmp_path / "x.zarr"
    paint(canvas_of(), store)
    before = names(tmp_path)
    with pytest.raises(OutputError):
        prepare(canvas_of(seed=6), tmp_path / name, store_path=store, overwrite=True)
    assert names(tmp_path) == before


def test_a_check_writes_nothing_and_names_what_stands_in_the_way(tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    paint(canvas_of(), store)
    before = names(tmp_path)
    with pytest.raises(IdentityMismatch, match="seed is 5 there, 6 here"):
        check(canvas_of(seed=6), store)
    assert check(canvas_of(seed=6), store, overwrite=True) == Readiness(stale_store=store)
    assert check(canvas_of(), store) == Readiness()
    assert names(tmp_path) == before


def test_a_finished_file_does_not_hide_that_its_store_is_damaged(tmp_path: Path) -> None:
    out, store = tmp_path / "x.tif", tmp_path / "x.zarr"
    paint(canvas_of(), out, store)
    assert prepare(canvas_of(), out, store_path=store) is False
    whole = out.read_bytes()
    shard = store / "0" / "c" / "0" / "0" / "1"
    content = bytearray(shard.read_bytes())
    content[10] ^= 255
    shard.write_bytes(content)
    assert prepare(canvas_of(), out, store_path=store)
    paint(canvas_of(), out, store)
    assert prepare(canvas_of(), out, store_path=store) is False
    with open_store(store) as opened:
        assert not opened.verify()
    assert out.read_bytes() == whole


def test_a_store_that_is_gone_is_painted_again_beside_its_file(tmp_path: Path) -> None:
    out, store = tmp_path / "x.png", tmp_path / "x.zarr"
    paint(canvas_of(), out)
    assert prepare(canvas_of(), out) is False
    assert prepare(canvas_of(), out, store_path=store)


def test_a_canvas_that_needs_more_memory_than_there_is_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "_memory_of_machine", lambda: 2**30)
    with pytest.raises(OutputError, match=r"of memory.* this machine has 1.0 GiB"):
        check(canvas_of(width=900_000), tmp_path / "x.tif")
    assert check(canvas_of(), tmp_path / "x.tif") == Readiness()


@pytest.mark.parametrize("store", ["x.tif", "store"])
def test_a_store_is_called_zarr(tmp_path: Path, store: str) -> None:
    with pytest.raises(UsageError, match=r"does not end in \.zarr; call it x\.zarr"):
        prepare(canvas_of(), tmp_path / "x.tif", store_path=tmp_path / store)
    assert names(tmp_path) == []


def test_a_store_that_may_not_be_written_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "x.zarr"
    paint(canvas_of(), store)
    monkeypatch.setattr(preparation.os, "access", lambda path, mode: Path(path) != store)
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="no permission to write into it"):
            prepare(canvas_of(), store, overwrite=overwrite)
