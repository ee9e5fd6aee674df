"""The commands: what they write, what they say, and that a mistake costs one line and no file."""

from __future__ import annotations

import errno
import hashlib
import json
import pickle
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import torch
from click.testing import CliRunner
from commands import done, everything_in, infrender, saved_model, started, wait_until

from infinite_render.cli.main import main
from infinite_render.models import load_model
from infinite_render.rendering.recipe import read_recipe
from infinite_render.rendering.scene import Scene
from infinite_render.rendering.store import open_store

SIZE = ("--width", 300, "--height", 200)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def sha256(path: Path | str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def refused(*arguments: object) -> str:
    """Run a command that must end with exit code 2, one line, and nothing changed."""
    before = everything_in(Path())
    result = infrender(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("infrender: ")
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.endswith("\n")
    assert everything_in(Path()) == before
    return result.stderr.strip()


# What a command makes.


def test_generate_paints_the_scenes_own_pixels(model: Path) -> None:
    done("generate", *SIZE, "--seed", 5, "--origin", "-64,128", "--model", model, "wall.png")
    picture = pyvips.Image.new_from_file("wall.png").numpy()
    expected = Scene(load_model(model), seed=5).render(-64, 128, 200, 300)
    assert np.array_equal(picture, expected)


@pytest.mark.parametrize("form", ["tif", "zarr", "dzi", "png", "jpg", "webp"])
def test_the_ending_chooses_the_form(model: Path, form: str) -> None:
    result = done("generate", *SIZE, "--model", model, f"wall.{form}")
    assert result.stdout.startswith(f"wall.{form}: 300 x 200 px in ")
    assert result.stdout.count("\n") == 1
    assert Path(f"wall.{form}").exists()
    assert not [name for name in everything_in(Path()) if name.startswith(".")]


@pytest.mark.parametrize("form", ["tif", "zarr", "dzi", "png", "jpg", "webp"])
@pytest.mark.parametrize("size", [(1, 1), (30, 17), (2000, 1)])
def test_a_tiny_picture_can_be_read_again(model: Path, form: str, size: tuple[int, int]) -> None:
    out = f"wall.{form}"
    done("generate", "--width", size[0], "--height", size[1], "--model", model, out)
    assert read_recipe(Path(out)).window == (0, 0, size[1], size[0])


def test_the_summary_says_speed_precision_depth_and_size(model: Path) -> None:
    line = done("generate", *SIZE, "--model", model, "--precision", "float32", "a.tif").stdout
    for word in ("Mpx/s", "float32", "depth 0 (the default for this height)", "KiB"):
        assert word in line


def test_workers_do_not_change_a_bit(model: Path) -> None:
    for workers in (1, 3):
        done("generate", *SIZE, "--model", model, "--workers", workers, f"{workers}.tif")
    assert sha256("1.tif") == sha256("3.tif")


def test_a_store_that_is_kept_exports_to_the_same_file(model: Path) -> None:
    done("generate", *SIZE, "--model", model, "--store", "wall.zarr", "wall.tif")
    result = done("export", "wall.zarr", "again.tif")
    assert result.stdout.startswith("again.tif: 300 x 200 px")
    assert sha256("wall.tif") == sha256("again.tif")


def test_the_default_depth_fits_the_band_into_the_height(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "ladder", detail=True)
    line = done("generate", "--width", 64, "--height", 420, "--model", folder, "deep.png").stdout
    assert "depth 2 (the default for this height)" in line  # the band is of 101 px
    line = done("generate", *SIZE, "--model", folder, "--depth", 0, "plain.png").stdout
    assert "depth 0," in line


def test_the_same_command_again_finds_the_picture_painted(model: Path) -> None:
    command = ("generate", *SIZE, "--model", model, "wall.tif")
    done(*command)
    before = everything_in(Path())
    result = done(*command)
    assert "wall.tif is this picture already" in result.stdout
    assert everything_in(Path()) == before


def test_a_store_that_is_whole_is_checked_and_said_to_be(model: Path) -> None:
    command = ("generate", *SIZE, "--model", model, "wall.zarr")
    done(*command)
    before = everything_in(Path())
    assert "were there, and every byte of them was checked" in done(*command).stdout
    assert everything_in(Path()) == before


def test_overwrite_replaces_a_picture_and_its_store(model: Path) -> None:
    command = ("generate", *SIZE, "--model", model, "--store", "wall.zarr", "wall.png")
    done(*command)
    assert "seed is 0 there, 1 here" in refused(*command, "--seed", 1)
    done(*command, "--seed", 1, "--overwrite")
    assert read_recipe(Path("wall.png")).identity["seed"] == 1


# Bad input: one line, exit code 2, nothing written.

BAD: list[tuple[tuple[object, ...], list[str]]] = [
    (("--width", 0, "--height", 9, "a.tif"), ["--width 0", "1 or more"]),
    (("--width", 9, "--height", -9, "a.tif"), ["--height -9", "1 or more"]),
    (("--width", 9.5, "--height", 9, "a.tif"), ["--width 9.5", "whole number"]),
    (("--width", "wide", "--height", 9, "a.tif"), ["--width wide", "whole number"]),
    (("--width", 9, "a.tif"), ["--height is missing"]),
    (("--widht", 9, "--height", 9, "a.tif"), ["--widht", "--width"]),
    (("--width", 1_000_001, "--height", 9, "a.png"), ["PNG", "1000000", ".tif"]),
    (("--width", 9, "--height", 65_501, "a.jpg"), ["JPEG", "65500", ".tif"]),
    (("--width", 16_384, "--height", 9, "a.webp"), ["WebP", "16383", ".tif"]),
    (("--width", 2**41, "--height", 9, "a.zarr"), ["1099511627776"]),
    ((*SIZE, "a.gif"), [".gif", ".tif"]),
    ((*SIZE, "--origin", "100,0", "a.tif"), ["--origin 100,0", "64 px", "try 128,0"]),
    ((*SIZE, "--origin", "1;2", "a.tif"), ["--origin 1;2", "Y,X"]),
    ((*SIZE, "--origin", f"{2**40},0", "a.tif"), ["leaves the plane"]),
    ((*SIZE, "--seed", -1, "a.tif"), ["--seed -1", "0.."]),
    ((*SIZE, "--depth", 1, "a.tif"), ["--depth 1", "0..0", "no detail ladder"]),
    ((*SIZE, "--workers", 0, "a.tif"), ["--workers 0"]),
    ((*SIZE, "--quality", 101, "a.tif"), ["--quality 101", "1..100"]),
    ((*SIZE, "--compression", "lzw", "a.tif"), ["--compression lzw", "deflate"]),
    ((*SIZE, "--pixel-size", 0, "a.tif"), ["--pixel-size 0"]),
    ((*SIZE, "--precision", "half", "a.tif"), ["--precision", "bfloat16"]),
    ((*SIZE, "--device", "tpu", "a.tif"), ["--device tpu", "cpu or cuda"]),
    ((*SIZE, "--store", "b.zarr", "a.zarr"), ["--store b.zarr"]),
    ((*SIZE, "--store", "nowhere/b.zarr", "a.tif"), ["nowhere", "make it first"]),
    ((*SIZE, "--other-machine", "a.tif"), ["--recipe"]),
    ((*SIZE, "nowhere/a.tif"), ["nowhere does not exist", "make it first"]),
    (("--width", 90_000_000, "--height", 90_000_000, "a.tif"), ["TiB", "free"]),
    (("--recipe", "missing.json", "a.tif"), ["missing.json does not exist"]),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=lambda value: str(value[0])[:40])
def test_a_mistake_costs_one_line_and_no_file(
    model: Path, arguments: tuple[object, ...], words: list[str]
) -> None:
    line = refused("generate", "--model", model, *arguments)
    for word in words:
        assert word in line


def test_an_unknown_model_lists_the_known_ones() -> None:
    line = refused("generate", *SIZE, "--model", "landscap", "a.tif")
    assert "unknown model 'landscap'" in line
    assert "known: landscape" in line


def test_an_unknown_command_proposes_the_nearest() -> None:
    assert "did you mean 'generate'?" in refused("generat")


@pytest.mark.parametrize("cut", [0, 5, 1000, -100])
def test_a_truncated_model_is_named(tmp_path: Path, cut: int) -> None:
    folder = saved_model(tmp_path / "cut")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:cut])
    assert "model.safetensors is damaged" in refused("generate", *SIZE, "--model", folder, "a.tif")


def test_an_unknown_key_of_a_model_proposes_the_nearest(tmp_path: Path) -> None:
    folder = saved_model(tmp_path / "typo")
    toml = folder / "model.toml"
    toml.write_text(toml.read_text().replace("local_dim", "local_dims"))
    line = refused("generate", *SIZE, "--model", folder, "a.tif")
    assert "unknown key 'generator.local_dims'; did you mean 'local_dim'?" in line


def test_a_file_that_is_not_ours_is_left_alone(model: Path) -> None:
    Path("wall.tif").write_text("someone's work")
    line = refused("generate", *SIZE, "--model", model, "wall.tif")
    assert "wall.tif exists already; --overwrite replaces it" in line


@pytest.mark.parametrize("option", [[], ["--overwrite"]])
def test_a_folder_that_is_not_ours_is_left_alone(model: Path, option: list[str]) -> None:
    Path("wall.zarr").mkdir()
    Path("wall.zarr/zarr.json").write_text("{}")
    assert "wall.zarr" in refused("generate", *SIZE, "--model", model, "wall.zarr", *option)


def test_a_folder_without_write_permission_is_named(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    assert "no permission to write" in refused("generate", *SIZE, "--model", model, "a.tif")


def test_a_store_of_another_picture_shows_both_values(model: Path) -> None:
    done("generate", *SIZE, "--model", model, "--seed", 3, "wall.zarr")
    line = refused("generate", *SIZE, "--model", model, "--seed", 4, "wall.zarr")
    assert "seed is 3 there, 4 here" in line


class Trojan:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


def test_a_checkpoint_that_holds_code_is_not_run() -> None:
    torch.save({"g_ema": Trojan()}, "trojan.pth", pickle_module=pickle)
    line = refused("import-model", "trojan.pth", "imported")
    assert "could run code" in line
    assert not Path("executed").exists()


def test_cuda_is_refused_where_there_is_none(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    line = refused("generate", *SIZE, "--model", model, "--device", "cuda", "a.tif")
    assert "no usable CUDA device; use cpu" in line


def test_bfloat16_that_is_not_native_comes_only_when_asked_for(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infinite_render.rendering.workers.has_native_bfloat16", lambda *_: False)
    result = done("generate", *SIZE, "--model", model, "auto.tif")
    assert "float32" in result.stdout
    assert "slow" not in result.stderr
    result = done("generate", *SIZE, "--model", model, "--precision", "bfloat16", "asked.tif")
    assert "bfloat16" in result.stdout
    assert "it will be slow" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("export", "nowhere.zarr", "a.tif"), "nowhere.zarr: no such directory"),
        (("export", "nowhere.zarr"), "missing argument 'OUT'"),
        (("info", "nowhere"), "no file, and no model of that name"),
        (("import-model", "nowhere.pth", "a"), "nowhere.pth does not exist"),
    ],
)
def test_the_other_commands_are_as_brief(arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(*arguments)


def test_a_store_that_is_not_done_is_not_exported(model: Path) -> None:
    done("generate", *SIZE, "--model", model, "wall.zarr")
    with open_store(Path("wall.zarr"), "r+") as store:
        store.drop_block(1, 2)
    line = refused("export", "wall.zarr", "wall.tif")
    assert "block (1, 2) is not rendered yet" in line


# What ends a run otherwise.


def test_a_killed_run_goes_on_and_ends_with_the_same_file(model: Path, tmp_path: Path) -> None:
    size = ("--width", 900, "--height", 800, "--model", model)
    done("generate", *size, tmp_path / "undisturbed.tif")
    command = ("generate", *size, tmp_path / "wall.tif")
    process = started(*command)
    shards = tmp_path / ".wall.tif.zarr" / "0" / "c" / "0"
    wait_until(lambda: len(list(shards.glob("*/*"))) > 12, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "wall.tif").exists()
    result = done(*command)
    assert "Mpx were there" in result.stdout
    assert sha256("wall.tif") == sha256("undisturbed.tif")
    assert sorted(everything_in(tmp_path)) == ["undisturbed.tif", "wall.tif"]


def test_ctrl_c_ends_with_130_and_says_what_is_kept(model: Path, tmp_path: Path) -> None:
    command = ("generate", "--width", 4000, "--height", 3000, "--model", model, "wall.tif")
    process = started(*command)
    shards = tmp_path / ".wall.tif.zarr" / "0" / "c" / "0"
    wait_until(lambda: any(shards.glob("*/*")), process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "kept in .wall.tif.zarr, and the same command goes on" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == [".wall.tif.zarr"]
    assert any(shards.glob("*/*"))


def test_a_full_disk_is_one_line_and_exit_code_1(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "wall.zarr/0")

    monkeypatch.setattr("infinite_render.rendering.store.CanvasStore.write_block", full)
    result = infrender("generate", *SIZE, "--model", model, "wall.zarr")
    assert result.exit_code == 1
    assert "No space left on device: wall.zarr/0" in result.stderr.splitlines()[-1]


def test_a_bug_is_not_hidden(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("infinite_render.rendering.scene.Scene.paint", broken)
    command = ["generate", "--width", "9", "--height", "9", "--model", str(model), "a.tif"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)


# Recipes.


@pytest.mark.parametrize("source", ["wall.tif", "wall.zarr", "wall.png", "wall.json"])
def test_a_recipe_paints_the_same_file_again(model: Path, source: str) -> None:
    options = ("--seed", 9, "--origin", "64,-128", "--model", model)
    done("generate", *SIZE, *options, "--store", "wall.zarr", "wall.tif")
    done("export", "wall.zarr", "wall.png")
    Path("wall.json").write_text(done("info", "--recipe", "wall.tif").stdout)
    done("generate", "--recipe", source, "--model", model, "again.tif")
    assert sha256("again.tif") == sha256("wall.tif")


def changed_recipe(model: Path, **values: object) -> str:
    """The name of a recipe file in which some values are others."""
    done("generate", *SIZE, "--model", model, "wall.png")
    recipe = json.loads(read_recipe(Path("wall.png")).to_json())
    Path("changed.json").write_text(json.dumps({**recipe, **values}))
    return "changed.json"


@pytest.mark.parametrize(
    ("key", "value"), [("model_digest", "0123"), ("block_px", 4096), ("noise_version", 77)]
)
def test_a_recipe_of_another_picture_is_refused(model: Path, key: str, value: object) -> None:
    recipe = changed_recipe(model, **{key: value})
    command = ("generate", "--recipe", recipe, "--model", model, "--other-machine", "again.png")
    line = refused(*command)
    assert f"{key} {value!r}, here it is " in line


def test_what_a_recipe_has_beyond_ours_is_refused(model: Path) -> None:
    recipe = changed_recipe(model, pins=["photo.png"])
    line = refused("generate", "--recipe", recipe, "--model", model, "again.png")
    assert "pins ['photo.png'], here it is nothing" in line


def test_another_torch_is_refused_unless_allowed(model: Path) -> None:
    recipe = changed_recipe(model, torch="1.0.0")
    command = ("generate", "--recipe", recipe, "--model", model, "again.png")
    line = refused(*command)
    assert "torch '1.0.0'" in line
    assert "--other-machine" in line
    done(*command, "--other-machine")
    assert read_recipe(Path("again.png")).identity["torch"] == torch.__version__


def test_a_recipe_whose_model_is_not_here_asks_for_it(model: Path) -> None:
    recipe = changed_recipe(model)
    assert "say where it is by --model" in refused("generate", "--recipe", recipe, "again.png")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{}", "no recipe of a picture"),
        (b"not json", "no recipe of a picture"),
        (b"[]", "recipe"),
        (b"\xff\xfe", "no recipe of a picture"),
    ],
)
def test_what_is_no_recipe_is_named(model: Path, text: bytes, words: str) -> None:
    Path("odd.json").write_bytes(text)
    assert words in refused("generate", "--recipe", "odd.json", "--model", model, "a.tif")


@pytest.mark.parametrize("missing", ["seed", "depth", "origin", "width"])
def test_a_recipe_that_lacks_something_says_so(model: Path, missing: str) -> None:
    path = Path(changed_recipe(model))
    recipe = json.loads(path.read_text())
    del recipe[missing]
    path.write_text(json.dumps(recipe))
    line = refused("generate", "--recipe", path, "--model", model, "a.tif")
    assert "is no recipe" in line
    assert missing in line


def test_a_recipe_leaves_nothing_to_say_twice(model: Path) -> None:
    recipe = changed_recipe(model)
    line = refused("generate", "--recipe", recipe, "--seed", 4, "--width", 10, "a.tif")
    assert "--width, --seed" in line


# What is said, and where.


def test_quiet_says_nothing(model: Path) -> None:
    for command in (
        ("generate", *SIZE, "--model", model, "--store", "a.zarr", "a.tif"),
        ("generate", *SIZE, "--model", model, "--store", "a.zarr", "a.tif"),
        ("export", "a.zarr", "b.tif"),
    ):
        assert done(*command, "-q").output == ""


def test_without_a_terminal_lines_are_plain(model: Path) -> None:
    result = done("generate", *SIZE, "--model", model, "--store", "a.zarr", "a.tif")
    assert "\r" not in result.output
    assert "\x1b" not in result.output
    assert result.stderr.startswith("painting: 0.0 of 0.1 Mpx")
    assert "\x1b" not in done("info", "a.zarr").output


def test_a_dry_run_tells_the_plan_and_writes_nothing(model: Path) -> None:
    result = done("generate", *SIZE, "--model", model, "--dry-run", "a.tif")
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


def test_a_dry_run_refuses_what_could_not_be_painted(model: Path) -> None:
    for words in (["nowhere/a.tif"], ["a.gif"], ["--depth", 3, "a.tif"]):
        refused("generate", *SIZE, "--model", model, "--dry-run", *words)


def test_a_dry_run_counts_what_is_kept_and_leaves_it(model: Path) -> None:
    done("generate", *SIZE, "--model", model, "a.zarr")
    with open_store(Path("a.zarr"), "r+") as store:
        store.drop_block(0, 0)
    before = everything_in(Path())
    result = done("generate", *SIZE, "--model", model, "--dry-run", "a.zarr")
    assert "6 of 128 px, 1 left to paint" in result.stdout
    assert "file: is the store" in result.stdout
    assert everything_in(Path()) == before


def test_info_tells_what_a_model_is(model: Path) -> None:
    said = done("info", model).stdout
    for words in (
        load_model(model).digest,
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


def test_info_tells_what_a_store_and_a_picture_are(model: Path) -> None:
    done("generate", *SIZE, "--model", model, "--seed", 12, "--store", "a.zarr", "a.tif")
    picture, store = done("info", "a.tif").stdout, done("info", "a.zarr").stdout
    for words in ("size: 300 x 200 px", "seed: 12", "origin: 0,0", "depth: 0", "torch: "):
        assert words in picture
        assert words in store
    assert "blocks: 6 of 6" in store
    assert "levels: 1" in store


def test_info_refuses_what_is_not_ours() -> None:
    Path("words.txt").write_text("words")
    assert "carries no recipe" in refused("info", "words.txt")
    Path("folder").mkdir()
    assert "is no model, store, picture or training run" in refused("info", "folder")
