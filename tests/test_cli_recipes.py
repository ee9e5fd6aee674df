"""A recipe paints the same bits again, or says what stands in the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from commands import done, refused, sha256

from infinite_render.rendering.recipe import read_recipe

pytestmark = pytest.mark.usefixtures("here")
SIZE = ("--width", 300, "--height", 200)


@pytest.mark.parametrize("source", ["wall.tif", "wall.zarr", "wall.png", "wall.json"])
def test_a_recipe_paints_the_same_file_again(model_folder: Path, source: str) -> None:
    options = ("--seed", 9, "--origin", "64,-128", "--model", model_folder)
    done("generate", *SIZE, *options, "--store", "wall.zarr", "wall.tif")
    done("export", "wall.zarr", "wall.png")
    Path("wall.json").write_text(done("info", "--recipe", "wall.tif").stdout)
    done("generate", "--recipe", source, "--model", model_folder, "again.tif")
    assert sha256("again.tif") == sha256("wall.tif")


def changed_recipe(model_folder: Path, **values: object) -> str:
    """The name of a recipe file in which some values are others."""
    done("generate", *SIZE, "--model", model_folder, "wall.png")
    recipe = json.loads(read_recipe(Path("wall.png")).to_json())
    Path("changed.json").write_text(json.dumps({**recipe, **values}))
    return "changed.json"


@pytest.mark.parametrize(
    ("key", "value"), [("model_digest", "0123"), ("block_px", 4096), ("noise_version", 77)]
)
def test_a_recipe_of_another_picture_is_refused(
    model_folder: Path, key: str, value: object
) -> None:
    recipe = changed_recipe(model_folder, **{key: value})
    command = (
        "generate",
        "--recipe",
        recipe,
        "--model",
        model_folder,
        "--other-machine",
        "again.png",
    )
    line = refused(*command)
    assert f"{key} {value!r}, here it is " in line


def test_what_a_recipe_has_beyond_ours_is_refused(model_folder: Path) -> None:
    recipe = changed_recipe(model_folder, clouds=["photo.png"])
    line = refused("generate", "--recipe", recipe, "--model", model_folder, "again.png")
    assert "clouds ['photo.png'], here it is nothing" in line


def test_another_torch_is_refused_unless_allowed(model_folder: Path) -> None:
    recipe = changed_recipe(model_folder, torch="1.0.0")
    command = ("generate", "--recipe", recipe, "--model", model_folder, "again.png")
    line = refused(*command)
    assert "torch '1.0.0'" in line
    assert "--other-machine" in line
    done(*command, "--other-machine")
    assert read_recipe(Path("again.png")).identity["torch"] == torch.__version__


def test_a_recipe_whose_model_is_not_here_asks_for_it(model_folder: Path) -> None:
    recipe = changed_recipe(model_folder)
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
def test_what_is_no_recipe_is_named(model_folder: Path, text: bytes, words: str) -> None:
    Path("odd.json").write_bytes(text)
    assert words in refused("generate", "--recipe", "odd.json", "--model", model_folder, "a.tif")


@pytest.mark.parametrize("missing", ["seed", "depth", "origin", "width"])
def test_a_recipe_that_lacks_something_says_so(model_folder: Path, missing: str) -> None:
    path = Path(changed_recipe(model_folder))
    recipe = json.loads(path.read_text())
    del recipe[missing]
    path.write_text(json.dumps(recipe))
    line = refused("generate", "--recipe", path, "--model", model_folder, "a.tif")
    assert "is no recipe" in line
    assert missing in line


def test_a_recipe_leaves_nothing_to_say_twice(model_folder: Path) -> None:
    recipe = changed_recipe(model_folder)
    line = refused("generate", "--recipe", recipe, "--seed", 4, "--width", 10, "a.tif")
    assert "--width, --seed" in line
