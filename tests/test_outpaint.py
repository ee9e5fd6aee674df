"""Photographs on the command line: kept bit for bit, repainted once, and refused in one line."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import pyvips
from commands import done, infrender, refused, saved_model, sha256, started, wait_until
from pinned_scenes import picture

from infinite_render.cli.outpaint import layout
from infinite_render.errors import DataError
from infinite_render.fields.pins import load_pin
from infinite_render.inversion import eyes
from infinite_render.inversion.row import columns_of, rows_of
from infinite_render.rendering.photographs import read_photograph

pytestmark = pytest.mark.usefixtures("here", "without_features")
HEIGHT, WIDTH = 70, 90
QUICK = ("--steps", 2)


@pytest.fixture
def without_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inversions that look at pixels alone: here it is not the likeness that matters."""

    def absent(dtype: object) -> None:
        raise eyes.UsageError("EfficientNet-Lite0 is not installed")

    monkeypatch.setattr(eyes, "load_features", absent)


@pytest.fixture(scope="module")
def ladder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_model(tmp_path_factory.mktemp("models") / "ladder", detail=True)


def photograph(name: str = "in.png", seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> str:
    pyvips.Image.new_from_array(picture(*size, seed)).write_to_file(name)
    return name


def pixels(path: str) -> np.ndarray:
    return pyvips.Image.new_from_file(path).numpy()


@pytest.mark.parametrize("out", ["out.png", "out.tif"])
def test_a_photograph_is_kept_in_the_middle_of_twice_its_width(
    model_folder: Path, out: str
) -> None:
    result = done(
        "outpaint", photograph(), out, "--model", model_folder, "--compression", "deflate", *QUICK
    )
    assert f"{out}: {2 * WIDTH} x {HEIGHT} px" in result.stdout
    assert "in.png: repainted at" in result.stderr
    canvas = pixels(out)
    assert canvas.shape == (HEIGHT, 2 * WIDTH, 3)
    assert np.array_equal(canvas[:, 48 : 48 + WIDTH], pixels("in.png"))  # (180 - 90) / 2, by cells
    assert canvas[:, :48].std() > 5
    assert sorted(path.name for path in Path().iterdir()) == ["in.png", "out.pin", out]


def test_a_ladder_paints_on_at_the_photographs_own_resolution(ladder_folder: Path) -> None:
    """390 rows are four bands of the small model's height: two steps of its ladder."""
    name = photograph(size=(390, 260))
    result = done("outpaint", name, "--model", ladder_folder, "--left", 100, "--top", 7, *QUICK)
    assert "depth 2" in result.stdout
    canvas = pixels("in-outpainted.png")
    assert canvas.shape == (397, 360, 3)
    assert np.array_equal(canvas[7:, 100:], pixels(name))
    assert load_pin(Path("in-outpainted.pin")).place_px == (7, 100)


def test_a_second_run_repaints_nothing_and_a_pin_serves_other_canvases(model_folder: Path) -> None:
    command = ("outpaint", photograph(), "out.png", "--model", model_folder, *QUICK)
    done(*command)
    before, pin = sha256("out.png"), sha256("out.pin")
    assert "out.png is this picture already" in done(*command).stdout

    Path("out.png").unlink()  # as a run that was killed while it painted
    result = done(*command)
    assert "out.pin repaints in.png" in result.stderr
    assert (sha256("out.png"), sha256("out.pin")) == (before, pin)

    # Another seed: the photograph and its pin are the same, the plane around it is not.
    done(*command[:2], "other.png", *command[3:], "--pin", "out.pin", "--seed", 5)
    canvas, other = pixels("out.png"), pixels("other.png")
    assert np.array_equal(canvas[:, 48:138], other[:, 48:138])
    assert not np.array_equal(canvas, other)
    assert sha256("out.pin") == pin
    assert not Path("other.pin").exists()

    # A larger canvas of the same plane, the photograph at the same place: the same picture.
    size = ("--width", 400, "--height", 100, "--at", "48,0")
    done(*command[:2], "large.png", *command[3:], "--pin", "out.pin", *size)
    assert np.array_equal(pixels("large.png")[:HEIGHT, : 2 * WIDTH], canvas)

    # And another place, as far as whole cells go.
    for option, tried in ((("--at", "31,0"), "--at 32,0"), (("--left", 31), "--left 32 --top 0")):
        line = refused(*command[:2], "x.png", *command[3:], "--pin", "out.pin", *option)
        assert "in.png at 31,0 does not fit out.pin" in line
        assert f"try {tried}" in line
    done(*command[:2], "moved.png", *command[3:], "--pin", "out.pin", "--at", "32,0")
    assert np.array_equal(pixels("moved.png")[:, 32 : 32 + WIDTH], pixels("in.png"))


def test_a_killed_outpainting_goes_on_and_ends_with_the_same_file(model_folder: Path) -> None:
    size = ("--width", 1200, "--height", 600, "--at", "480,240", "--model", model_folder)
    done("outpaint", photograph(), "whole.tif", *size, "--pin", "in.pin", *QUICK)
    command = ("outpaint", "in.png", "killed.tif", *size, "--pin", "in.pin")
    process = started(*command)
    shards = Path(".killed.tif.zarr") / "0" / "c" / "0"
    wait_until(lambda: len(list(shards.glob("*/*"))) > 12, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not Path("killed.tif").exists()
    assert "Mpx were there" in done(*command).stdout
    assert sha256("killed.tif") == sha256("whole.tif")


def test_a_killed_inversion_goes_on_and_ends_with_the_same_pin(model_folder: Path) -> None:
    size = ("--width", 200, "--model", model_folder, "--steps", 80)
    started("outpaint", photograph(), "whole.png", *size).communicate()
    command, begun = ("outpaint", "in.png", "killed.png", *size), Path(".killed.pin.begun")
    for number, (code, line) in {signal.SIGKILL: (-9, ""), signal.SIGINT: (130, "goes on")}.items():
        before = begun.read_bytes() if begun.is_file() else b""
        process = started(*command)
        wait_until(lambda before=before: begun.is_file() and begun.read_bytes() != before, process)
        process.send_signal(number)
        said = process.communicate()[1]
        assert process.returncode == code
        assert line in said
        assert not Path("killed.pin").exists()
    process = started(*command)
    assert "resumed at step" in process.communicate()[1]
    assert process.returncode == 0
    assert sha256("killed.pin") == sha256("whole.pin")
    assert sha256("killed.png") == sha256("whole.png")
    assert not begun.exists()


def test_a_pin_of_something_else_is_refused(model_folder: Path, ladder_folder: Path) -> None:
    command = ("outpaint", photograph(), "out.png", "--model", model_folder, *QUICK)
    done(*command)
    Path("out.png").unlink()
    other = photograph("other.png", 1)
    assert "out.pin repaints another photograph than other.png" in refused(
        "outpaint", other, "out.png", "--model", model_folder
    )
    assert "another model" in refused(*command[:4], ladder_folder)
    Path("bad.pin").write_bytes(b"nothing")
    assert "bad.pin is damaged or no pin" in refused(*command, "--pin", "bad.pin")
    done("outpaint", other, "out.png", "--model", model_folder, "--overwrite", *QUICK)
    assert np.array_equal(pixels("out.png")[:, 48 : 48 + WIDTH], pixels(other))


def test_a_horizon_is_that_of_the_pin_or_refused(model_folder: Path) -> None:
    command = ("outpaint", photograph(), "out.png", "--model", model_folder, *QUICK)
    done(*command, "--horizon", 20)
    assert "is this picture already" in done(*command, "--horizon", 20).stdout
    wide = ("--width", 300, "--at", "120,16", "--height", 100, "--pin", "out.pin")
    done(*command[:2], "moved.png", *command[3:], *wide, "--horizon", 20)
    line = refused(*command, "--horizon", 21)
    assert "--horizon 21 is not where out.pin has the horizon" in line
    assert "--overwrite to invert again" in line
    assert "--overwrite" not in refused(*command, "--horizon", 21, "--pin", "out.pin")
    found = load_pin(Path("out.pin")).shift_cell[0]
    done(*command, "--horizon", 28, "--overwrite")
    assert load_pin(Path("out.pin")).shift_cell[0] == found - 1  # of 8 px


def test_a_preview_shows_how_far_an_inversion_has_come(model_folder: Path) -> None:
    done("outpaint", photograph(), "out.png", "--model", model_folder, "--preview", *QUICK)
    assert pixels("out.preview.png").shape == (HEIGHT, WIDTH, 3)


def test_what_was_painted_around_a_photograph_tells_so(model_folder: Path) -> None:
    done("outpaint", photograph(), "out.png", "--model", model_folder, *QUICK)
    assert "photographs" in done("info", "out.png").stdout
    line = refused("generate", "--recipe", "out.png", "--model", model_folder, "again.png")
    assert "painted around photographs" in line


def test_photographs_lie_on_one_canvas_at_equal_distances(model_folder: Path) -> None:
    names = [photograph(f"{i}.png", i, (HEIGHT, 40 + 10 * i)) for i in range(3)]
    command = ("inbetween", *names, "out.png", "--width", 300, "--model", model_folder, *QUICK)
    assert "out.png: 300 x 70 px" in done(*command).stdout
    canvas, before = pixels("out.png"), sha256("out.png")
    for name, x in zip(names, (0, 115, 240), strict=True):
        own = pixels(name)
        assert np.array_equal(canvas[:, x : x + own.shape[1]], own)
    pins = [load_pin(Path(f"out.{number}.pin")) for number in (1, 2, 3)]
    assert len({pin.shift_cell for pin in pins}) == 1
    assert len({pin.digest for pin in pins}) == 3
    Path("out.png").unlink()
    done(*command)
    assert sha256("out.png") == before


def test_pins_of_photographs_in_a_row_serve_other_canvases(model_folder: Path) -> None:
    names = [photograph(f"{i}.png", i) for i in range(2)]
    command = ("inbetween", *names, "out.png", "--model", model_folder, *QUICK)
    done(*command, "--width", 300)
    pins = [sha256(f"out.{number}.pin") for number in (1, 2)]
    Path("out.png").unlink()
    done(*command, "--width", 413, "--height", 90, "--margin", 5)
    assert [sha256(f"out.{number}.pin") for number in (1, 2)] == pins
    canvas = pixels("out.png")
    assert canvas.shape == (90, 413, 3)
    for name, x in zip(names, (8, 322), strict=True):  # 0 and 210 by whole cells; next to 5 and 318
        assert np.array_equal(canvas[8:78, x : x + WIDTH], pixels(name))

    other = photograph("1.png", 2)
    line = refused(*command, "--width", 300)
    assert f"out.2.pin repaints another photograph than {other}; give OUT another name" in line


def test_rows_and_columns_of_photographs() -> None:
    assert columns_of([100, 100], 328, 0, 128) == [0, 228]
    assert columns_of([100, 100], 500, 50, 64) == [50, 350]
    assert rows_of([1.0, 3.0], [0, 40], 10, down_cell=0.0) == ([0, 30], 0.0)
    assert rows_of([9.0, 9.0], [15, 40], 10, down_cell=0.0) == ([15, 40], 0.0)


def test_the_middle_keeps_to_the_lattice() -> None:
    names = ("width", "height", "at", "left", "right", "top", "bottom")
    given = dict.fromkeys(names)
    assert layout(given, (100, 300), 64, None) == ((100, 600), (0, 128))
    wide = {**given, "width": 1000, "height": 500}
    assert layout(wide, (100, 300), 64, None) == ((500, 1000), (192, 320))
    assert layout({**wide, "at": (5, 7)}, (100, 300), 64, None) == ((500, 1000), (7, 5))
    assert layout({**given, "left": 5, "bottom": 6}, (9, 8), 64, None) == ((15, 13), (0, 5))


SIZE = ("--width", 300, "--height", 100)
BAD: list[tuple[tuple[object, ...], list[str]]] = [
    (("missing.png", "a.png"), ["missing.png does not exist", "JPEG"]),
    ((".", "a.png"), [". is no file"]),
    (("text.jpg", "a.png"), ["text.jpg cannot be read as a photograph"]),
    (("cut.png", "a.png"), ["cut.png cannot be read as a photograph"]),
    (("tiny.png", "a.png"), ["6 x 90 px is too small", "8 px or more"]),
    (("in.png", "a.png", "--width", 89), ["89 x 70 px is smaller", "90 x 70 px"]),
    (("in.png", "a.png", *SIZE, "--at", "211,0"), ["--at 211,0", "300 x 100 px", "try --at 105,0"]),
    (("in.png", "a.png", "--at", "-1,0"), ["--at -1,0", "leaves the canvas"]),
    (("in.png", "a.png", "--at", "1"), ["--at 1", "X,Y"]),
    (("in.png", "a.png", "--left", 5, "--width", 300), ["--left and --width both"]),
    (("in.png", "a.png", "--left", -5), ["--left -5", "0 or more"]),
    (("in.png", "a.png", "--horizon", 70), ["--horizon 70", "0..69"]),
    (("in.png", "a.png", "--time", "soon"), ["--time soon is no time", "try 5m"]),
    (("in.png", "a.png", "--steps", 0), ["--steps 0", "1 or more"]),
    (("in.png", "a.gif"), [".gif", ".tif"]),
    (("in.png", "in.png"), ["in.png is a photograph and cannot be the picture too"]),
    (("in.png", "a.png", "--pin", "a.png"), ["a.png is the picture and cannot be a pin too"]),
    (("in.png", "a.png", "--pin", "in.png"), ["in.png is a photograph and cannot be a pin"]),
    (("a.preview.png", "a.png", "--preview"), ["a.preview.png is a photograph and cannot be"]),
    (("in.png", "a.png", "--device", "tpu"), ["--device tpu", "cpu or cuda"]),
    (("in.png", "a.png", "--store", "nowhere/b.zarr"), ["nowhere does not exist"]),
    (("in.png", "a.png", "--store", "there.png"), ["there.png: not a zarr store"]),
    (("in.png", "a.png", "--store", "there.png", "--overwrite"), ["not a zarr store"]),
    (("in.png", "a.zarr", "--store", "b.zarr"), ["--store b.zarr is of no use"]),
    (("in.png", "a.png", "--width", 10**400), ["--width 1000", "1 or more"]),
    (("in.png", "there.png"), ["there.png exists already", "--overwrite"]),
    (("in.png", "nowhere/a.png"), ["nowhere does not exist"]),
    (("in.png", "a.png", "--pin", "nowhere/a.pin"), ["nowhere does not exist"]),
    (("in.png", "a.webp", "--width", 16_400), ["WebP", "16383"]),
    (("in.png", "a.tif", "--compression", "lzw"), ["--compression lzw"]),
]


def bad_files() -> None:
    photograph()
    photograph("tiny.png", size=(90, 6))
    Path("text.jpg").write_text("no photograph")
    Path("cut.png").write_bytes(Path("in.png").read_bytes()[:4000])
    shutil.copy("in.png", "there.png")
    shutil.copy("in.png", "a.preview.png")


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=lambda value: str(value)[:50])
def test_a_mistake_costs_one_line_and_no_inversion(
    model_folder: Path, arguments: tuple[object, ...], words: list[str]
) -> None:
    bad_files()
    line = refused("outpaint", *arguments, "--model", model_folder)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("in.png", "a.png", "--width", 300), ["in.png alone"]),
        (("in.png", "there.png", "a.png", "--width", 187), ["overlap", "--width 188"]),
        (("in.png", "there.png", "a.png", "--width", 188, "--margin", 1), ["--width 190"]),
        (("in.png", "there.png", "a.png", "--width", 300, "--height", 69), ["--height 70"]),
        (("in.png", "there.png", "in.png", "--width", 300), ["in.png is a photograph"]),
        (("in.png", "there.png", "a.png", "--width", 300, "--device", "tpu"), ["--device tpu"]),
        (("in.png", "text.jpg", "a.png", "--width", 300), ["text.jpg cannot be read"]),
        (("in.png", "there.png", "a.png", "--width", 300, "--horizon", -1), ["--horizon -1"]),
        (("in.png", "there.png", "a.png"), ["--width"]),
    ],
    ids=lambda value: str(value)[:50],
)
def test_photographs_that_cannot_lie_together_cost_one_line(
    model_folder: Path, arguments: tuple[object, ...], words: list[str]
) -> None:
    bad_files()
    line = refused("inbetween", *arguments, "--model", model_folder)
    for word in words:
        assert word in line


def test_times_are_read_with_and_without_their_units(model_folder: Path) -> None:
    for number, limit in enumerate(("30", "30s", "0.5m", "0.01h")):
        name = photograph(f"{number}.png")
        out = f"{number}-out.png"
        result = infrender("outpaint", name, out, "--model", model_folder, "--time", limit, *QUICK)
        assert result.exit_code == 0, result.output


def test_a_photographs_bytes_are_read_as_they_are() -> None:
    """But for what is not 8 bit of sRGB, which becomes that; upright, and without alpha."""
    own = picture(20, 30)
    image = pyvips.Image.new_from_array(own)
    image.write_to_file("plain.png")
    image.write_to_file("plain.tif")
    image.bandjoin(255).write_to_file("alpha.png")
    for name in ("plain.png", "plain.tif", "alpha.png"):
        assert np.array_equal(read_photograph(Path(name)), own), name
    named = image.icc_transform("srgb", input_profile="srgb")
    named.write_to_file("named.png")
    assert np.array_equal(read_photograph(Path("named.png")), named.numpy())
    wide = image.icc_transform("p3", input_profile="srgb")
    wide.write_to_file("wide.png")
    back = read_photograph(Path("wide.png")).astype(int)
    assert not np.array_equal(wide.numpy(), back)
    assert np.abs(back - own).mean() < 2

    turned = image.copy()
    turned.set_type(pyvips.GValue.gint_type, "orientation", 6)
    turned.write_to_file("turned.tif")
    assert np.array_equal(read_photograph(Path("turned.tif")), np.rot90(own, -1))
    image.colourspace("b-w").write_to_file("grey.png")
    assert read_photograph(Path("grey.png")).shape == (20, 30, 3)
    image.colourspace("rgb16").write_to_file("deep.png")
    assert np.abs(read_photograph(Path("deep.png")).astype(int) - own).max() <= 1
    with pytest.raises(DataError, match="does not exist"):
        read_photograph(Path("missing.png"))
