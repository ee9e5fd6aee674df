"""The forms: what each holds, what each refuses, and how a target is judged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import ArrayRows, Pixels, empty, filled, noisy, paint

from infinite_render.errors import OutputError, UnreadableBlocks
from infinite_render.rendering import exports, targets
from infinite_render.rendering.bands import Bands
from infinite_render.rendering.exports import (
    check_form,
    description_of,
    export_store,
    open_sink,
    plan_bytes,
    plan_memory_bytes,
)
from infinite_render.rendering.pyramid import vips
from infinite_render.rendering.store import CanvasStore, open_store
from infinite_render.rendering.targets import check_target

PICTURE = noisy(1300, 900)
RECIPE = json.dumps({"seed": 7, "model": 'süß "one"', "note": "a (b, c)"})
FILES = ["sea.tif", "sea.TIFF", "sea.dzi", "sea.png", "sea.jpg", "sea.jpeg", "sea.webp"]


def load(path: Path) -> Pixels:
    return np.asarray(vips().Image.new_from_file(str(path)).numpy())


def write(path: Path, picture: Pixels, **options: Any) -> Path:
    open_sink(path, ArrayRows(picture), description=RECIPE, **options).finish()
    return path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CanvasStore:
    path = tmp_path_factory.mktemp("store") / "sea.zarr"
    filled(path, PICTURE).close()
    return open_store(path)


@pytest.mark.parametrize(
    ("name", "longest_px"),
    [("a.jpg", 65_500), ("a.JPEG", 65_500), ("a.webp", 16_383), ("a.png", 1_000_000)],
)
def test_a_size_beyond_the_form_is_refused_with_a_form_that_can(name: str, longest_px: int) -> None:
    check_form(Path(name), longest_px, longest_px)
    for size in [(longest_px + 1, 1), (1, longest_px + 1)]:
        with pytest.raises(OutputError, match=rf"at most {longest_px} px a side.*choose \.tif"):
            check_form(Path(name), *size)


@pytest.mark.parametrize("name", ["a.tif", "a.tiff", "a.dzi", "a.zarr", "a.ome.zarr"])
def test_the_large_forms_hold_the_large_sizes(name: str) -> None:
    check_form(Path(name), 8192, 65_536)
    check_form(Path(name), 99_999_999, 99_999_999)


@pytest.mark.parametrize(("name", "longest_px"), [("a.jpg", 65_500), ("a.webp", 16_383)])
def test_the_limits_are_those_of_the_library(tmp_path: Path, name: str, longest_px: int) -> None:
    assert load(write(tmp_path / name, noisy(1, longest_px))).shape[1] == longest_px
    with pytest.raises(vips().Error):
        vips().Image.black(longest_px + 1, 1).write_to_buffer(f".{name[2:]}")


@pytest.mark.parametrize(
    ("name", "said"),
    [("a.gif", r"\.gif is no form"), ("a.tig", r"did you mean '\.tif'"), ("a", "without an end")],
)
def test_an_unknown_form_is_refused_with_those_that_are_known(name: str, said: str) -> None:
    with pytest.raises(OutputError, match=said):
        check_form(Path(name), 10, 10)


@pytest.mark.parametrize("name", FILES)
def test_every_form_is_written_from_a_store_with_its_recipe(
    tmp_path: Path, store: CanvasStore, name: str
) -> None:
    told = list(export_store(store, tmp_path / name, description=RECIPE))
    assert told[-1] == (1300, 1300)
    assert [progress.done for progress in told] == sorted(progress.done for progress in told)
    assert description_of(tmp_path / name) == RECIPE
    if name != "sea.dzi":
        error = load(tmp_path / name).astype(float) - PICTURE
        assert np.sqrt((error**2).mean()) < (1e-9 if name == "sea.png" else 9)
        assert [file.name for file in tmp_path.iterdir()] == [name]


def test_the_identity_is_the_description_when_none_is_given(
    tmp_path: Path, store: CanvasStore
) -> None:
    list(export_store(store, tmp_path / "a.png"))
    assert json.loads(description_of(tmp_path / "a.png") or "") == store.identity


def test_a_deep_zoom_has_its_tiles_under_its_own_name(tmp_path: Path) -> None:
    write(tmp_path / "my.sea.dzi", PICTURE)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["my.sea.dzi", "my.sea_files"]
    assert 'TileSize="512"' in (tmp_path / "my.sea.dzi").read_text()
    finest = tmp_path / "my.sea_files" / "11"  # 2^11 is the first power of two above 1300
    assert len(list(finest.iterdir())) == 3 * 2
    error = load(finest / "1_1.jpg").astype(float) - PICTURE[512:1024, 512:900]
    assert np.sqrt((error**2).mean()) < 9
    rough = write(tmp_path / "rough.dzi", PICTURE, quality=30)
    fine_bytes, rough_bytes = (
        (exports.tiles_of(path) / "11" / "0_0.jpg").stat().st_size
        for path in (tmp_path / "my.sea.dzi", rough)
    )
    assert rough_bytes < fine_bytes / 2


def test_a_deep_zoom_is_replaced_whole(tmp_path: Path) -> None:
    write(tmp_path / "sea.dzi", PICTURE)
    write(tmp_path / "sea.dzi", PICTURE[:300, :300])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["sea.dzi", "sea_files"]
    assert not (tmp_path / "sea_files" / "11").exists()


@pytest.mark.parametrize("name", FILES)
def test_no_form_leaves_anything_when_it_fails(tmp_path: Path, name: str) -> None:
    sink = open_sink(tmp_path / name, ArrayRows(PICTURE, fails_at=7), description=RECIPE)
    with pytest.raises(RuntimeError, match="ladder"):
        sink.finish()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["sea.dzi", "sea.png"])
def test_what_a_killed_run_left_is_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / f".{name}.partial" / "sea_files").mkdir(parents=True)
    write(tmp_path / name, PICTURE)
    assert not (tmp_path / f".{name}.partial").exists()


@pytest.mark.parametrize("name", FILES)
def test_an_export_that_is_given_up_leaves_nothing(
    tmp_path: Path, store: CanvasStore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    unfinished = empty(tmp_path / "other.zarr", PICTURE)
    paint(unfinished, PICTURE, [(0, ix) for ix in range(4)])
    monkeypatch.setattr(exports, "Bands", lambda _: Bands(unfinished))  # waits for the second row
    export = export_store(store, tmp_path / name)
    assert next(export).done <= 256
    export.close()
    assert [file.name for file in tmp_path.iterdir()] == ["other.zarr"]


def test_an_unfinished_store_is_not_exported(tmp_path: Path) -> None:
    store = empty(tmp_path / "sea.zarr", PICTURE)
    paint(store, PICTURE, [(0, 0), (0, 1), (0, 2)])
    with pytest.raises(UnreadableBlocks, match=r"blocks \(0, 3\), \(1, 0\).* are not rendered"):
        list(export_store(store, tmp_path / "sea.tif"))
    assert [file.name for file in tmp_path.iterdir()] == ["sea.zarr"]


def test_a_store_is_no_form_to_export_to(tmp_path: Path, store: CanvasStore) -> None:
    with pytest.raises(OutputError, match="copy its directory"):
        list(export_store(store, tmp_path / "b.zarr"))


@pytest.mark.parametrize("quality", [0, 101])
def test_a_quality_that_cannot_be_is_refused(tmp_path: Path, quality: int) -> None:
    with pytest.raises(OutputError, match=rf"--quality {quality} is not in 1\.\.100"):
        write(tmp_path / "a.jpg", PICTURE, quality=quality)


def test_a_file_without_a_description_has_none(tmp_path: Path) -> None:
    vips().Image.black(9, 9).write_to_file(str(tmp_path / "a.png"))
    (tmp_path / "b.tif").write_text("not a picture")
    for name in ["a.png", "b.tif", "none.jpg", "none.dzi"]:
        assert description_of(tmp_path / name) is None


def test_the_plan_is_on_the_safe_side(tmp_path: Path, store: CanvasStore) -> None:
    for name in FILES:
        if name != "sea.dzi":
            list(export_store(store, tmp_path / name))
            form = check_form(tmp_path / name, 1300, 900)
            assert (tmp_path / name).stat().st_size < plan_bytes(form, 1300, 900)
    files = [file for file in store.path.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < plan_bytes(exports.STORE, 1300, 900)
    assert plan_memory_bytes(ArrayRows(PICTURE)) == 900 * (5000 + 9 * 64)


def test_a_target_is_judged_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old.tif").write_text("")
    (tmp_path / "folder.png").mkdir()
    check_target(tmp_path / "new.tif", 10)
    check_target(tmp_path / "old.tif", 10, overwrite=True)
    with pytest.raises(OutputError, match="nowhere does not exist"):
        check_target(tmp_path / "nowhere" / "a.tif", 10)
    with pytest.raises(OutputError, match=r"old\.tif exists already; --overwrite replaces it"):
        check_target(tmp_path / "old.tif", 10)
    with pytest.raises(OutputError, match=r"folder\.png is a directory"):
        check_target(tmp_path / "folder.png", 10, overwrite=True)
    monkeypatch.setattr(targets, "free_bytes", lambda _: 2**20)
    with pytest.raises(OutputError, match=r"needs about 3\.0 GiB of disk and .* has 1\.0 MiB free"):
        check_target(tmp_path / "new.tif", 3 * 2**30)
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, who may all
    with pytest.raises(OutputError, match="no permission to write"):
        check_target(tmp_path / "new.tif", 10)
