"""A mistake costs one line and exit code 2, and nothing is written."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import done, refused, saved_model

from infinite_render.rendering.store import open_store

pytestmark = pytest.mark.usefixtures("here")
SIZE = ("--width", 300, "--height", 200)


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
    model_folder: Path, arguments: tuple[object, ...], words: list[str]
) -> None:
    line = refused("generate", "--model", model_folder, *arguments)
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


def test_a_file_that_is_not_ours_is_left_alone(model_folder: Path) -> None:
    Path("wall.tif").write_text("someone's work")
    line = refused("generate", *SIZE, "--model", model_folder, "wall.tif")
    assert "wall.tif exists already; --overwrite replaces it" in line


@pytest.mark.parametrize("option", [[], ["--overwrite"]])
def test_a_folder_that_is_not_ours_is_left_alone(model_folder: Path, option: list[str]) -> None:
    Path("wall.zarr").mkdir()
    Path("wall.zarr/zarr.json").write_text("{}")
    assert "wall.zarr" in refused("generate", *SIZE, "--model", model_folder, "wall.zarr", *option)


def test_a_folder_without_write_permission_is_named(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    assert "no permission to write" in refused("generate", *SIZE, "--model", model_folder, "a.tif")


def test_a_store_of_another_picture_shows_both_values(model_folder: Path) -> None:
    done("generate", *SIZE, "--model", model_folder, "--seed", 3, "wall.zarr")
    line = refused("generate", *SIZE, "--model", model_folder, "--seed", 4, "wall.zarr")
    assert "seed is 3 there, 4 here" in line


class Trojan:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


def test_a_checkpoint_that_holds_code_is_not_run() -> None:
    torch.save({"g_ema": Trojan()}, "trojan.pth", pickle_module=pickle)
    line = refused("import-model", "trojan.pth", "imported")
    assert "could run code" in line
    assert not Path("executed").exists()


def test_cuda_is_refused_where_there_is_none(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    line = refused("generate", *SIZE, "--model", model_folder, "--device", "cuda", "a.tif")
    assert "no usable CUDA device; use cpu" in line


def test_bfloat16_that_is_not_native_comes_only_when_asked_for(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infinite_render.precision.has_native_bfloat16", lambda *_: False)
    result = done("generate", *SIZE, "--model", model_folder, "auto.tif")
    assert "float32" in result.stdout
    assert "slow" not in result.stderr
    result = done(
        "generate", *SIZE, "--model", model_folder, "--precision", "bfloat16", "asked.tif"
    )
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


def test_a_store_that_is_not_done_is_not_exported(model_folder: Path) -> None:
    done("generate", *SIZE, "--model", model_folder, "wall.zarr")
    with open_store(Path("wall.zarr"), "r+") as store:
        store.drop_block(1, 2)
    line = refused("export", "wall.zarr", "wall.tif")
    assert "block (1, 2) is not rendered yet" in line
