"""Styles, boxes drawn again and cylinders on the command line: what they paint and refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pyvips
from commands import done, refused, sha256

from infinite_render.fields.drifting_styles import Drifting, StyleLaw
from infinite_render.fields.geojson import read_styles
from infinite_render.fields.shapes import Disc, Polygon
from infinite_render.fields.styles import Points, Style, StyledPoint
from infinite_render.models import load_model
from infinite_render.rendering.plan import PLANE_LIMIT_PX
from infinite_render.rendering.scene import Scene

pytestmark = pytest.mark.usefixtures("here")
SIZE = ("--width", 320, "--height", 200)


def pixels(path: str) -> np.ndarray:
    return pyvips.Image.new_from_file(path).numpy()


def feature(kind: str, coordinates: object, **properties: object) -> dict[str, object]:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


SQUARE = [[[10, 20], [90, 20], [90, 100], [10, 100], [10, 20]]]
FILE = {
    "type": "FeatureCollection",
    "features": [feature("Polygon", SQUARE, seed=3), feature("Point", [200, 90], seed=4, radius=8)],
}


def written(name: str, values: object) -> str:
    Path(name).write_text(json.dumps(values), "utf-8")
    return name


def test_styles_on_the_command_line_are_points_of_the_plane(model_folder: Path) -> None:
    options = ("--style", "7@0.25,0.5", "--style", "8@240,100", "--fade", 80)
    done("generate", *SIZE, "--model", model_folder, "--origin", "64,-128", *options, "a.png")
    points = (
        StyledPoint((100 + 64) / 8, (80 - 128) / 8, Style(7)),
        StyledPoint((100 + 64) / 8, (240 - 128) / 8, Style(8)),
    )
    scene = Scene(load_model(model_folder), styles=Points(points, 10.0))
    assert np.array_equal(pixels("a.png"), scene.render(64, -128, 200, 320))


def test_a_style_that_is_the_planes_own_changes_nothing(model_folder: Path) -> None:
    same = written("same.json", feature("Polygon", SQUARE, seed=5))
    done("generate", *SIZE, "--model", model_folder, "--seed", 5, "plain.png")
    for name, option in (("a", ("--style", "5@0,0")), ("b", ("--styles", same))):
        done("generate", *SIZE, "--model", model_folder, "--seed", 5, *option, f"{name}.png")
        assert np.array_equal(pixels(f"{name}.png"), pixels("plain.png"))


def test_the_drift_of_the_style_is_the_models_own_unless_told(model_folder: Path) -> None:
    for name, options in (
        ("own", ()),
        ("none", ("--style-drift", 0)),
        ("much", ("--style-drift", 1)),
    ):
        done("generate", *SIZE, "--model", model_folder, "--seed", 5, *options, f"{name}.png")
    model = load_model(model_folder)
    assert model.recipe.render.style_drift == 0
    assert np.array_equal(pixels("own.png"), pixels("none.png"))
    law = StyleLaw.of(model.recipe)._replace(drift=1.0)
    drifting = Scene(model, seed=5, styles=Drifting(5, law)).render(0, 0, 200, 320)
    assert np.array_equal(pixels("much.png"), drifting)
    assert not np.array_equal(pixels("much.png"), pixels("own.png"))


@pytest.mark.parametrize(
    "options",
    [
        ("--style", "7@0.1,0.5", "--style", "8@0.7,0.5"),
        ("--styles", "styles.json"),
        ("--anchors", 96, "--wrap", "x"),
        ("--reseed", "100,20,40,40@9", "--reseed", "0,0,8,8@3"),
        ("--style-drift", 0.7, "--wrap", "x", "--styles", "styles.json"),
        ("--styles", "styles.json", "--anchors", 96, "--wrap", "x", "--reseed", "300,0,20,20@2"),
    ],
)
def test_a_recipe_with_fields_paints_the_same_file_again(
    model_folder: Path, options: tuple[object, ...]
) -> None:
    written("styles.json", FILE)
    done("generate", *SIZE, "--model", model_folder, *options, "--workers", 2, "wall.tif")
    done("generate", "--recipe", "wall.tif", "--model", model_folder, "again.tif")
    assert sha256("wall.tif") == sha256("again.tif")
    done("generate", *SIZE, "--model", model_folder, "plain.tif")
    assert sha256("plain.tif") != sha256("wall.tif")


def test_a_wrapped_picture_goes_on_at_its_left_edge(model_folder: Path) -> None:
    done("generate", *SIZE, "--model", model_folder, "--wrap", "x", "round.png")
    origin = ("--origin", "0,64")
    done("generate", *SIZE, "--model", model_folder, "--wrap", "x", *origin, "later.png")
    assert np.array_equal(np.roll(pixels("round.png"), -64, axis=1), pixels("later.png"))


def test_an_edit_of_a_kept_store_says_what_was_there(model_folder: Path) -> None:
    wide = ("--width", 1000, "--height", 300, "--model", model_folder, "--store", "kept.zarr")
    done("generate", *wide, "plain.png")
    line = done("generate", *wide, "--reseed", "10,10,20,20@4", "edited.png").stdout
    assert "Mpx were there" in line
    before, after = pixels("plain.png"), pixels("edited.png")
    assert (before != after).any()
    assert np.array_equal(before[:, 600:], after[:, 600:])


@pytest.mark.parametrize("number", [2**41 + 1, 10**22 - 1, "9" * 5000])
def test_a_size_beyond_the_plane_names_the_limit(model_folder: Path, number: object) -> None:
    size = ("--width", number, "--height", 9)
    line = refused("generate", *size, "--model", model_folder, "wall.zarr")
    assert f"--width {number} is not a whole number of pixels, 1 or more and " in line
    assert f"and {2 * PLANE_LIMIT_PX} at most; try 1024" in line


def test_geojson_is_read_in_the_pictures_pixels() -> None:
    path = Path(written("styles.json", FILE))
    points, shapes = read_styles(path, origin_px=(64, -8), size_px=(200, 320), cell_px=8)
    assert points == []
    square, disc = shapes
    assert isinstance(square, Polygon)
    assert square.rings[0][0] == ((20 + 64) / 8, (10 - 8) / 8)
    assert disc == Disc((90 + 64) / 8, (200 - 8) / 8, 1.0, Style(4))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--style", "7@500,10"), "--style 7@500,10 is outside the picture of 320 x 200 px"),
        (("--style", "7@1.5,0.5"), "is outside the picture"),
        (("--style", "7"), "--style 7 is not SEED@X,Y; try 7@0.25,0.5"),
        (("--style", "x@1,2"), "is not SEED@X,Y"),
        (("--style", "-1@1,2"), "is not SEED@X,Y"),
        (("--style", "7@nan,0.5"), "is outside the picture"),
        (("--styles", "none.json"), "is no GeoJSON that can be read"),
        (("--styles", "text.json"), "is no GeoJSON that can be read"),
        (("--styles", "list.json"), "it is no object"),
        (("--styles", "empty.json"), "holds no features"),
        (("--styles", "line.json"), "feature 0 is no Point, Polygon or MultiPolygon"),
        (("--styles", "unseeded.json"), "feature 0 is no Point"),
        (("--styles", "outside.json"), "a style at 999,5 is outside the picture"),
        (("--styles", "deep.json"), "is no GeoJSON that can be read"),
        (("--styles", "huge.json"), "feature 0 is no Point"),
        (("--styles", "wide.json"), "feature 0 is no Point"),
        (("--styles", "words.json"), "'1' is no number"),
        (("--anchors", 3), "--anchors 3 is below the cell of latents, 8 px"),
        (("--anchors", 64, "--style", "1@1,1"), "both divide the plane"),
        (("--anchors", 10**400), "is not a whole number of pixels, 1 or more"),
        (("--style-drift", 1.5), "style_drift = 1.5 must be 0, one style, to 1, any style"),
        (("--style-drift", 0.5, "--anchors", 64), "--style-drift is of no use with --anchors"),
        (("--style-drift", 0.5, "--style", "1@1,1"), "is of no use with points of style"),
        (("--recipe", "x.tif", "--style-drift", 0.5), "--height, --style-drift would"),
        (("--fade", 9), "--fade is of no use"),
        (("--fade", 10**400, "--style", "1@1,1"), "is not a whole number of pixels, 1 or more"),
        (("--reseed", "1,2,3@4"), "is not X,Y,W,H@SEED"),
        (("--reseed", "1,2,0,3@4"), "is empty or outside the picture"),
        (("--reseed", "400,2,9,3@4"), "is empty or outside the picture"),
        (("--reseed", "0.5,2,9,3@4"), "four whole numbers"),
        (("--wrap", "x", "--width", 321), "try --width 320"),
        (("--wrap", "y"), "wrap"),
        (("--recipe", "x.tif", "--anchors", 64), "--recipe says what"),
    ],
)
def test_what_cannot_be_is_one_line(
    model_folder: Path, options: tuple[object, ...], said: str
) -> None:
    Path("text.json").write_text("hello", "utf-8")
    written("list.json", [])
    written("empty.json", {"type": "FeatureCollection", "features": []})
    written("line.json", feature("LineString", [[0, 0], [1, 1]], seed=1))
    written("unseeded.json", feature("Point", [0, 0]))
    written("outside.json", feature("Point", [999, 5], seed=1))
    Path("deep.json").write_text("[" * 100_000, "utf-8")
    written("huge.json", feature("Point", [10**400, 5], seed=1))
    written("wide.json", feature("Point", [9, 5], seed=1, radius=10**400))
    written("words.json", feature("Point", "12", seed=1))
    line = refused("generate", *SIZE, "--model", model_folder, *options, "wall.png")
    assert said in line
    assert not Path("wall.png").exists()
