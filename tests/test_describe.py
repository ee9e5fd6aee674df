"""What `describe` tells of a model and of a training run, checked against the things themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import saved_model
from small_models import SMALL, SMALL_DETAIL, random_model

from infinite_render.config import GeneratorConfig, format_toml
from infinite_render.describe import affected_px, describe
from infinite_render.errors import InfrenderError, ModelError
from infinite_render.fields.latents import SeededLatents
from infinite_render.fields.local import ALONE, LocalLaw
from infinite_render.geometry import Window
from infinite_render.noise import Array
from infinite_render.rendering.plan import BlockPlan
from infinite_render.rendering.scene import Scene
from infinite_render.training.detail_recipe import DetailRecipe
from infinite_render.training.recipes import TrainRecipe, load_recipe


class OneLatentChanged(SeededLatents):
    """The field of a seed, but for the local latent of cell (0, 0)."""

    def z_local(self, window_cell: Window, dim: int, law: LocalLaw = ALONE) -> Array:
        values = super().z_local(window_cell, dim, law)
        y, x = -window_cell.y, -window_cell.x
        if 0 <= y < window_cell.height and 0 <= x < window_cell.width:
            values[:, y, x] += 50
        return values


@pytest.mark.parametrize("depth", [0, 1])
def test_one_latent_reaches_as_far_as_is_told_and_no_further(depth: int) -> None:
    model = random_model(detail=SMALL_DETAIL)
    reach = affected_px(BlockPlan(SMALL, model.recipe.render, SMALL_DETAIL, depth))
    y, side = reach.start - 8, reach.size + 16
    pictures = [
        Scene(model, precision="float32", latents=field).render(y, y, side, side, depth=depth)
        for field in (SeededLatents(0), OneLatentChanged(0))
    ]
    rows, columns = np.nonzero((pictures[0] != pictures[1]).any(axis=-1))
    slack = 8 << depth  # at its edge a change is too small for a grey level
    for place in (rows, columns):
        assert 8 <= place.min() <= 8 + slack
        assert side - 8 - slack <= place.max() + 1 <= side - 8


def test_the_costs_of_every_depth_are_told(tmp_path: Path) -> None:
    title, rows = describe(str(saved_model(tmp_path / "ladder", detail=True)))
    told = dict(rows)
    assert title == "model ladder"
    depths = [name for name in told if name.startswith("depth ")]
    assert depths == [f"depth {depth}" for depth in range(5)]  # blocks of 128 px, cells of 8 px
    assert all("kMAC a pixel" in str(told[name]) for name in depths)


@pytest.mark.parametrize(
    "recipe", [load_recipe("tiny"), DetailRecipe()], ids=["generator", "ladder"]
)
def test_a_training_run_is_told_by_its_recipe_and_its_log(
    tmp_path: Path, recipe: TrainRecipe | DetailRecipe
) -> None:
    (tmp_path / "run.toml").write_text(format_toml(recipe))
    records = [{"images": 64, "critic": 0.5}, {"images": 128, "critic": 0.25}]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, records)) + '\n{"images": 2')
    (tmp_path / "checkpoints" / "000128").mkdir(parents=True)
    title, rows = describe(str(tmp_path))
    told = dict(rows)
    assert title == f"training run {tmp_path}"
    assert told["images shown"] == f"128 of {recipe.images:,}"
    assert told["last critic"] == 0.25
    assert told["checkpoints"] == f"1 in {tmp_path / 'checkpoints'}, the last 000128"
    assert told["sheets"] == "none yet"
    assert "ladder" in str(told["trains"]) or isinstance(recipe, TrainRecipe)


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (
            "# a\n\nText.\n\nThe weights are theirs. Their licence is that of its place; it is\n"
            "not infrender's.\n\nMore.\n",
            "The weights are theirs. Their licence is that of its place; it is not infrender's.",
        ),
        (
            "# a\n- Weights: CC0,\n  all of\n  them.\n- Sizes: small.\n",
            "Weights: CC0, all of them.",
        ),
        ("# a\nLicence: CC0.\n# b\n", "Licence: CC0."),
        ("# a\n\nNothing.\n", None),
    ],
)
def test_the_licence_of_a_model_is_told_to_its_end(
    tmp_path: Path, card: str, said: str | None
) -> None:
    folder = saved_model(tmp_path / "free")
    (folder / "card.md").write_text(card, "utf-8")
    assert dict(describe(str(folder))[1]).get("licence") == said


def test_what_is_not_there_proposes_the_nearest_model() -> None:
    with pytest.raises(ModelError, match="did you mean 'landscape'"):
        describe("landscpe")


def test_a_damaged_run_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("imags = 3\n", "utf-8")
    with pytest.raises(InfrenderError, match="did you mean 'images'"):
        describe(str(tmp_path))


def test_a_larger_generator_reaches_further() -> None:
    model = random_model()
    small = affected_px(BlockPlan(SMALL, model.recipe.render))
    large = affected_px(BlockPlan(GeneratorConfig(), model.recipe.render))
    assert large.size > small.size > SMALL.patch_px - 5


def test_how_pictures_vary_along_a_canvas_is_told() -> None:
    told = dict(describe("landscape")[1])
    assert told["drift of the style"] == "1 of it, over 24 cells"
    assert told["drift of fine styles"] == "0.7 of it, over 96 cells"
    assert told["relief"] == "land is some 11 px high or low at depth 0"
