"""The examples run as they stand, at a small size."""

from __future__ import annotations

import dataclasses
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import pyvips
import tifffile
import torch
from pinned_scenes import picture
from small_models import random_model, truncated

from infinite_render.errors import ModelError, UsageError
from infinite_render.fields.pins import load_pin
from infinite_render.models import load_model, save_model

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))


def example(name: str) -> Any:
    return runpy.run_path(str(ROOT / "examples" / name))["main"]


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
        shift = 0.0 if "floors." in name else 0.25
        expected = landscape.generator.state_dict()[name] + shift
        torch.testing.assert_close(tensor, expected, atol=1e-6, rtol=1e-6)

    apart = load_model(main(str(tmp_path / "shifted"), "landscape", tmp_path / "apart", 0.75, 0.5))
    for name, tensor in apart.generator.state_dict().items():
        shift = {"structure": 0.5, "texture": 0.25}.get(name.split(".")[0], 0.0)
        expected = landscape.generator.state_dict()[name] + shift
        torch.testing.assert_close(tensor, expected, atol=1e-6, rtol=1e-6)

    small = random_model()
    save_model(tmp_path / "small", small.recipe, small.generator.state_dict())
    with pytest.raises(ModelError, match="average models of one training"):
        main(str(tmp_path / "small"), "landscape", tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_an_example_teaches_a_model_its_own_frames(tmp_path: Path) -> None:
    small = random_model()
    save_model(tmp_path / "small", small.recipe, small.generator.state_dict())
    main = example("10_clear_skies.py")
    taught = load_model(main(str(tmp_path / "small"), tmp_path / "taught", 32, 1))
    before, after = small.generator.state_dict(), taught.generator.state_dict()
    changed = {name.split(".")[0] for name in before if not before[name].equal(after[name])}
    assert changed == {"structure"}


def test_an_example_gives_a_model_lakes(tmp_path: Path) -> None:
    small = random_model()
    save_model(tmp_path / "small", small.recipe, small.generator.state_dict())
    main = example("11_lakes.py")
    wet = load_model(main(str(tmp_path / "small"), tmp_path / "wet", 1))
    assert wet.recipe.generator.shore is not None
    before, after = small.generator.state_dict(), wet.generator.state_dict()
    assert [name for name in before if not before[name].equal(after[name])] == []
    added = {name for name in after if name not in before}
    assert added == {f"structure.lakes.water.{kind}" for kind in ("weight", "bias")}


@pytest.mark.parametrize(("kind", "key"), [("ground", "floors"), ("level", "layout_floors")])
def test_an_example_gives_a_model_floors_and_a_mean_keeps_them(
    kind: str, key: str, tmp_path: Path
) -> None:
    small = random_model()
    save_model(tmp_path / "small", truncated(small).recipe, small.generator.state_dict())
    path = example("12_floors.py")(kind, str(tmp_path / "small"), tmp_path / "up", 24)
    before, after = small.generator.state_dict(), load_model(path).generator.state_dict()
    assert [name for name in before if not before[name].equal(after[name])] == []
    added = {name for name in after if name not in before}
    assert added == {f"{key}.{name}" for name in ("reads", "moves", "least")}
    other = example("12_floors.py")(kind, str(tmp_path / "small"), tmp_path / "other", 24, 7)
    with pytest.raises(UsageError, match="of kind void; give one of ground, level"):
        example("12_floors.py")("void", str(tmp_path / "small"), tmp_path / "none")
    with pytest.raises(UsageError, match="frames = 0 must be 1 or more"):
        example("12_floors.py")(kind, str(tmp_path / "small"), tmp_path / "none", 0)
    mean = load_model(example("09_average.py")(str(other), str(path), tmp_path / "mean", 0.25))
    assert all(mean.generator.state_dict()[name].equal(after[name]) for name in added)


def test_an_example_gives_a_model_a_floor_of_marks(tmp_path: Path) -> None:
    small = random_model()
    save_model(tmp_path / "small", truncated(small).recipe, small.generator.state_dict())
    marks = ROOT / "examples" / "marks" / "whole.csv"
    liked = load_model(example("13_marks.py")(str(tmp_path / "small"), tmp_path / "liked", marks))
    assert liked.recipe.generator.floors == ("whole",)
    before, after = small.generator.state_dict(), liked.generator.state_dict()
    assert [name for name in before if not before[name].equal(after[name])] == []
    with pytest.raises(UsageError, match="no floors are called roofs; give one of floors, coarse_"):
        example("13_marks.py")(str(tmp_path / "small"), tmp_path / "none", marks, [0.8], "roofs")


def test_an_example_takes_a_share_for_each_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = truncated(random_model())
    save_model(tmp_path / "small", small.recipe, small.generator.state_dict())
    script = ROOT / "examples" / "13_marks.py"
    given = [str(tmp_path / "small"), str(tmp_path / "out"), str(script.parent / "marks/sky.csv")]
    monkeypatch.setattr(sys, "argv", [str(script), *given, "0.9,0.2", "drift_floors"])
    runpy.run_path(str(script), run_name="__main__")
    floored = load_model(str(tmp_path / "out"))
    assert floored.recipe.generator.drift_floors == ("smears", "bare")
    floors = floored.generator.drift_floors
    assert floors is not None
    assert floors.least[0] > 0.5
    assert floors.least[1] < -0.5


def test_no_example_is_forgotten() -> None:
    here = Path(__file__).read_text()
    assert EXAMPLES
    assert [name for name in EXAMPLES if f'example("{name}")' not in here] == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_says_how_it_is_started(name: str) -> None:
    text = (ROOT / "examples" / name).read_text()
    assert f"python examples/{name}" in text
