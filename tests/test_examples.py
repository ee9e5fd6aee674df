"""The examples run as they stand, at a small size."""

from __future__ import annotations

import dataclasses
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import tifffile
import torch
from pinned_scenes import picture
from small_models import random_model

from infinite_render.errors import ModelError
from infinite_render.fields.pins import load_pin
from infinite_render.models import load_model, save_model

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))


def functions(name: str) -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "examples" / name))


def example(name: str) -> Any:
    return functions(name)["main"]


def test_an_example_saves_a_picture(tmp_path: Path) -> None:
    assert example("01_render.py")(tmp_path, 40, 60).stat().st_size > 1000


def test_an_example_compares_windows_far_away() -> None:
    assert example("02_window.py")(90, 120) is True


def test_an_example_paints_a_store_and_exports_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = example("03_store.py")(tmp_path, 120, 600)
    assert tifffile.imread(path).shape == (120, 600, 3)
    said = capsys.readouterr().out
    assert "painting: 100%" in said
    assert "120 of 120 rows" in said


def test_an_example_blends_three_styles(tmp_path: Path) -> None:
    assert example("04_styles.py")(tmp_path, 40, 60).stat().st_size > 1000


def test_an_example_edits_a_box_and_nothing_else() -> None:
    assert example("05_edit.py")(8) is True


def test_an_example_closes_a_panorama(tmp_path: Path) -> None:
    path = example("06_panorama.py")(tmp_path, 40, 512)
    assert tifffile.imread(path).shape == (40, 512, 3)


def photograph(folder: Path, seed: int) -> Path:
    path = folder / f"{seed}.png"
    pyvips.Image.new_from_array(picture(60, 80, seed)).write_to_file(str(path))
    return path


def test_an_example_paints_around_a_photograph(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = example("07_outpaint.py")(photograph(tmp_path, 0), tmp_path, 1)
    assert "step 1 of 1" in capsys.readouterr().out
    assert pyvips.Image.new_from_file(str(path)).height == 2 * 60
    assert load_pin(tmp_path / "photograph.pin").size_px == (60, 80)


def test_an_example_paints_between_photographs(tmp_path: Path) -> None:
    names = [photograph(tmp_path, seed) for seed in (0, 1)]
    path = example("08_inbetween.py")(*names, tmp_path, 1)
    assert pyvips.Image.new_from_file(str(path)).width == 4 * 80


def test_an_example_averages_two_models(tmp_path: Path) -> None:
    landscape = load_model()
    shifted = {name: tensor + 1 for name, tensor in landscape.generator.state_dict().items()}
    bare = dataclasses.replace(landscape.recipe, detail=None)
    save_model(tmp_path / "shifted", bare, shifted)
    main = example("09_average.py")
    mean = load_model(main(str(tmp_path / "shifted"), "landscape", tmp_path / "mean", 0.75))
    assert mean.recipe.name == "mean"
    assert mean.detail is not None
    for name, tensor in mean.generator.state_dict().items():
        expected = landscape.generator.state_dict()[name] + 0.25
        torch.testing.assert_close(tensor, expected, atol=1e-6, rtol=1e-6)

    apart = load_model(main(str(tmp_path / "shifted"), "landscape", tmp_path / "apart", 0.75, 0.5))
    for name, tensor in apart.generator.state_dict().items():
        shift = 0.5 if name.startswith("structure.") else 0.25
        expected = landscape.generator.state_dict()[name] + shift
        torch.testing.assert_close(tensor, expected, atol=1e-6, rtol=1e-6)

    small = random_model()
    save_model(tmp_path / "small", small.recipe, small.generator.state_dict())
    with pytest.raises(ModelError, match="average models of one training"):
        main(str(tmp_path / "small"), "landscape", tmp_path / "never")
    assert not (tmp_path / "never").exists()


ROW, COLUMN = np.mgrid[:101, :101]
SLOPE = ROW + 8 * np.sin(COLUMN / 16) > 60
HILL = SLOPE | ((ROW > 48) & (abs(COLUMN - 70) < 3))  # with a tower
SPOT = (abs(ROW - 36) < 3) & (abs(COLUMN - 30) < 5)


def frame(spot: float | tuple[int, int, int], sky: float = 190) -> np.ndarray:
    """A sky that darkens downwards, a dark hill, and a spot afloat, uint8 [101,101,3]."""
    grey = np.where(HILL, 60, sky - ROW // 2)[..., None]
    noise = np.random.default_rng(0).normal(0, 2, (101, 101, 3))
    return (np.where(SPOT[..., None], spot, grey) + noise).clip(0, 255).round().astype(np.uint8)


def test_an_example_mends_what_floats_in_the_sky() -> None:
    mend = functions("10_clear_skies.py")["mended"]
    painted = frame(60)
    mended, gone = mend(painted)
    assert gone[SPOT].all()
    assert not gone[HILL].any()  # nor its tower
    assert gone.sum() < 4 * SPOT.sum()
    assert abs(mended[SPOT].mean() - 172) < 4
    np.testing.assert_array_equal(mended[~gone], painted[~gone])
    assert not mend(mended)[1].any()
    assert not mend(frame((130, 172, 214), sky=230))[1].any()  # a gap between clouds
    assert not mend(np.full_like(painted, 128))[1].any()  # no horizon


def test_an_example_finds_a_skyline() -> None:
    best_line = functions("10_clear_skies.py")["best_line"]
    np.testing.assert_array_equal(best_line(np.where(SLOPE, 1.5, -1.5)), SLOPE.argmax(axis=0))


def test_an_example_teaches_what_was_mended(tmp_path: Path) -> None:
    clear_skies = functions("10_clear_skies.py")
    small = random_model()
    save_model(tmp_path / "small", small.recipe, small.generator.state_dict())
    taught = load_model(clear_skies["main"](str(tmp_path / "small"), tmp_path / "taught", 32, 1))
    before, after = small.generator.state_dict(), taught.generator.state_dict()
    changed = {name.split(".")[0] for name in before if not before[name].equal(after[name])}
    assert changed == {"structure"}

    recipe = clear_skies["frames_recipe"](small, seed=0)
    first = clear_skies["painted_frames"](small, recipe, 0)[0]
    middle = np.zeros_like(first.mended)
    middle[20:30, 20:30] = True
    wanted = np.where(middle[..., None], first.rgb // 2 + 60, first.rgb)
    frames = [first._replace(rgb=wanted, mended=middle)]
    clear_skies["teach"](small.generator, recipe, frames, 30, torch.float32)
    painted = clear_skies["painted_frames"](small, recipe, 0)[0].rgb

    def away(rgb: np.ndarray) -> float:
        return float(abs(rgb[middle].astype(float) - wanted[middle]).mean())

    assert away(painted) < 0.9 * away(first.rgb)


def test_no_example_is_forgotten() -> None:
    here = Path(__file__).read_text()
    assert EXAMPLES
    assert [name for name in EXAMPLES if f'("{name}")' not in here] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_says_how_it_is_started(name: str) -> None:
    text = (ROOT / "examples" / name).read_text()
    assert f"python examples/{name}" in text
