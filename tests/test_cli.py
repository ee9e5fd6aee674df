"""The commands: what they write and what they say."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from commands import done, everything_in, refused, saved_model, sha256

from infinite_render.errors import RecipeError
from infinite_render.models import load_model
from infinite_render.rendering.recipe import read_recipe
from infinite_render.rendering.scene import Scene
from infinite_render.rendering.store import open_store

pytestmark = pytest.mark.usefixtures("here")
SIZE = ("--width", 300, "--height", 200)


def test_generate_paints_the_scenes_own_pixels(model_folder: Path) -> None:
    done("generate", *SIZE, "--seed", 5, "--origin", "-64,128", "--model", model_folder, "wall.png")
    picture = pyvips.Image.new_from_file("wall.png").numpy()
    expected = Scene(load_model(model_folder), seed=5).render(-64, 128, 200, 300)
    assert np.array_equal(picture, expected)


@pytest.mark.parametrize("form", ["tif", "zarr", "dzi", "png", "jpg", "webp"])
def test_the_ending_chooses_the_form(model_folder: Path, form: str) -> None:
    result = done("generate", *SIZE, "--model", model_folder, f"wall.{form}")
    assert result.stdout.startswith(f"wall.{form}: 300 x 200 px in ")
    assert result.stdout.count("\n") == 1
    assert Path(f"wall.{form}").exists()
    assert not [name for name in everything_in(Path()) if name.startswith(".")]


@pytest.mark.parametrize("form", ["tif", "zarr", "dzi", "png", "jpg", "webp"])
@pytest.mark.parametrize("size", [(1, 1), (30, 17), (2000, 1)])
def test_a_tiny_picture_can_be_read_again(
    model_folder: Path, form: str, size: tuple[int, int]
) -> None:
    out = f"wall.{form}"
    done("generate", "--width", size[0], "--height", size[1], "--model", model_folder, out)
    assert read_recipe(Path(out)).window == (0, 0, size[1], size[0])


def test_the_summary_says_speed_precision_depth_and_size(model_folder: Path) -> None:
    line = done(
        "generate", *SIZE, "--model", model_folder, "--precision", "float32", "a.tif"
    ).stdout
    for word in ("Mpx/s", "float32", "depth 0 (the default for this height)", "KiB"):
        assert word in line


def test_workers_do_not_change_a_bit(model_folder: Path) -> None:
    for workers in (1, 3):
        done("generate", *SIZE, "--model", model_folder, "--workers", workers, f"{workers}.tif")
    assert sha256("1.tif") == sha256("3.tif")


def test_a_store_that_is_kept_exports_to_the_same_file(model_folder: Path) -> None:
    done("generate", *SIZE, "--model", model_folder, "--store", "wall.zarr", "wall.tif")
    result = done("export", "wall.zarr", "again.tif")
    assert result.stdout.startswith("again.tif: 300 x 200 px")
    assert sha256("wall.tif") == sha256("again.tif")


def test_the_default_depth_fits_the_band_into_the_height(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "ladder", detail=True)
    line = done("generate", "--width", 64, "--height", 420, "--model", folder, "deep.png").stdout
    assert "depth 2 (the default for this height)" in line  # the band is of 101 px
    line = done("generate", *SIZE, "--model", folder, "--depth", 0, "plain.png").stdout
    assert "depth 0," in line


def test_the_same_command_again_finds_the_picture_painted(model_folder: Path) -> None:
    command = ("generate", *SIZE, "--model", model_folder, "wall.tif")
    done(*command)
    before = everything_in(Path())
    result = done(*command)
    assert "wall.tif is this picture already" in result.stdout
    assert everything_in(Path()) == before


def test_a_store_that_is_whole_is_checked_and_said_to_be(model_folder: Path) -> None:
    command = ("generate", *SIZE, "--model", model_folder, "wall.zarr")
    done(*command)
    before = everything_in(Path())
    assert "were there, and every byte of them was checked" in done(*command).stdout
    assert everything_in(Path()) == before


def test_overwrite_replaces_a_picture_and_its_store(model_folder: Path) -> None:
    command = ("generate", *SIZE, "--model", model_folder, "--store", "wall.zarr", "wall.png")
    done(*command)
    assert "seed is 0 there, 1 here" in refused(*command, "--seed", 1)
    done(*command, "--seed", 1, "--overwrite")
    assert read_recipe(Path("wall.png")).identity["seed"] == 1


def test_quiet_says_nothing(model_folder: Path) -> None:
    for command in (
        ("generate", *SIZE, "--model", model_folder, "--store", "a.zarr", "a.tif"),
        ("generate", *SIZE, "--model", model_folder, "--store", "a.zarr", "a.tif"),
        ("export", "a.zarr", "b.tif"),
    ):
        assert done(*command, "-q").output == ""


def test_without_a_terminal_lines_are_plain(model_folder: Path) -> None:
    result = done("generate", *SIZE, "--model", model_folder, "--store", "a.zarr", "a.tif")
    assert "\r" not in result.output
    assert "\x1b" not in result.output
    assert result.stderr.startswith("painting: 0.0 of 0.1 Mpx")
    assert "\x1b" not in done("info", "a.zarr").output


def test_a_dry_run_tells_the_plan_and_writes_nothing(model_folder: Path) -> None:
    result = done("generate", *SIZE, "--model", model_folder, "--dry-run", "a.tif")
    assert everything_in(Path()) == {}
    for words in (
        "picture: 300 x 200 px (width x height), BigTIFF",
        "depth: 0 (the default for this height)",
        "blocks: 6 of 128 px, 6 left to paint",
        "cells: 4 a block",
        "arithmetic: ",
        "store: up to ",
        "file: up to ",
        "disk: ",
        "memory: about ",
        "time: about ",
    ):
        assert words in result.stdout


def test_a_dry_run_refuses_what_could_not_be_painted(model_folder: Path) -> None:
    for words in (["nowhere/a.tif"], ["a.gif"], ["--depth", 3, "a.tif"]):
        refused("generate", *SIZE, "--model", model_folder, "--dry-run", *words)


def test_a_dry_run_counts_what_is_kept_and_leaves_it(model_folder: Path) -> None:
    done("generate", *SIZE, "--model", model_folder, "a.zarr")
    with open_store(Path("a.zarr"), "r+") as store:
        store.drop_block(0, 0)
    before = everything_in(Path())
    result = done("generate", *SIZE, "--model", model_folder, "--dry-run", "a.zarr")
    assert "6 of 128 px, 1 left to paint" in result.stdout
    assert "file: is the store" in result.stdout
    assert everything_in(Path()) == before


def test_info_tells_what_a_model_is(model_folder: Path) -> None:
    said = done("info", model_folder).stdout
    for words in (
        load_model(model_folder).digest,
        "parameters: ",
        "kMAC a pixel",
        "one latent reaches ",
        "band shown in training: rows 14 to 114 px",
        "cells, blocks: 64 px, 128 px",
    ):
        assert words in said


def test_info_tells_the_licence_of_a_model(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "free")
    (folder / "card.md").write_text("# free\n\n- Sizes: small.\n- Licence: CC0, do as you like.\n")
    assert "licence: Licence: CC0, do as you like." in done("info", folder).stdout


def test_info_tells_what_a_store_and_a_picture_are(model_folder: Path) -> None:
    done("generate", *SIZE, "--model", model_folder, "--seed", 12, "--store", "a.zarr", "a.tif")
    picture, store = done("info", "a.tif").stdout, done("info", "a.zarr").stdout
    for words in ("size: 300 x 200 px", "seed: 12", "origin: 0,0", "depth: 0", "torch: "):
        assert words in picture
        assert words in store
    assert "blocks: 6 of 6" in store
    assert "levels: 1" in store


def test_info_says_why_a_picture_cannot_be_read(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done("generate", *SIZE, "--model", model_folder, "a.tif")
    done("generate", *SIZE, "--model", model_folder, "b.dzi")
    closed = {"a.tif", "c.json", "infrender.json"}  # root may read everything, so the opening fails
    opened = Path.open

    def open_(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.name in closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *args, **kwargs)

    Path("c.json").write_text("{}")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", open_)
        for name, file in (
            ("a.tif", "a.tif"),
            ("b.dzi", "b_files/infrender.json"),
            ("c.json", "c.json"),
        ):
            with pytest.raises(RecipeError) as caught:
                read_recipe(Path(name))
            said = f"{file} cannot be read: Permission denied; make it readable"
            assert str(caught.value) == said
    assert "size: 300 x 200" in done("info", "a.tif").stdout


def test_info_refuses_what_is_not_ours() -> None:
    Path("words.txt").write_text("words")
    assert "carries no recipe" in refused("info", "words.txt")
    Path("folder").mkdir()
    assert "is no model, store, picture or training run" in refused("info", "folder")
