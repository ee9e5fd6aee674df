"""A run that begins with the weights of a model folder."""

import dataclasses
from pathlib import Path

import pytest
import torch
from landscapes import toy_recipe

from infinite_render.errors import ModelError, UsageError
from infinite_render.models import load_model
from infinite_render.nn.floors import Floors
from infinite_render.training import events, steps
from infinite_render.training.critics import load_critic
from infinite_render.training.draws import Draws
from infinite_render.training.loop import train
from infinite_render.training.painting import Scene
from infinite_render.training.recipes import CriticConfig, TrainRecipe

pytestmark = pytest.mark.usefixtures("one_thread")


def run(data: Path, recipe: TrainRecipe, out: Path, start: str | None = None) -> list[events.Event]:
    return list(train(data, recipe, out, start=start))


def test_a_model_folder_is_enough_to_train_on(photographs: Path, tmp_path: Path) -> None:
    recipe = toy_recipe(images=32)
    run(photographs, recipe, tmp_path / "first")
    longer = dataclasses.replace(recipe, images=64)
    model = tmp_path / "first" / "model"
    told = run(photographs, longer, tmp_path / "second", start=str(model))
    assert any("started from model, 32 images" in str(event) for event in told)
    assert load_model(tmp_path / "second" / "model").recipe.trained["images"] == 64
    critic = load_critic(model)
    logits, position = critic(critic.prepare(torch.zeros(2, 3, 29, 29)))
    assert logits[0].shape == (2, 1)
    assert position.shape == (2,)
    with pytest.raises(UsageError, match=r"was shown 32 images already.* --images of more"):
        run(photographs, recipe, tmp_path / "shorter", start=str(model))
    other = toy_recipe(generator=dataclasses.replace(recipe.generator, local_dim=5))
    with pytest.raises(ModelError, match="another generator"):
        run(photographs, other, tmp_path / "third", start=str(model))


def test_larger_patches_of_the_same_band_go_on_from_smaller_ones(
    photographs: Path, tmp_path: Path
) -> None:
    projected = CriticConfig(kind="projected", head_dim=8, input_px=64)
    small = toy_recipe(images=32, critic=projected)
    run(photographs, small, tmp_path / "first")
    model = str(tmp_path / "first" / "model")

    whole = dataclasses.replace(small.generator, patch_cells=17, start_rows=1)
    assert whole.band_px == small.generator.band_px
    larger = dataclasses.replace(
        small,
        images=64,
        generator=whole,
        data=dataclasses.replace(small.data, outside=0.5, outside_rows=3),
        loss=dataclasses.replace(small.loss, position=0.0),
    )
    told = [str(event) for event in run(photographs, larger, tmp_path / "second", start=model)]
    assert any("started from model, 32 images" in line for line in told)
    assert not any("discriminator" in line for line in told)  # it is kept, too

    taller = dataclasses.replace(
        small, generator=dataclasses.replace(small.generator, patch_cells=13)
    )
    with pytest.raises(ModelError, match="another generator"):
        run(photographs, taller, tmp_path / "third", start=model)


@pytest.mark.parametrize(
    ("key", "value", "what", "without"),
    [
        ("shore", 0.4, "lakes", None),
        ("floors", ("light",), "floors", ()),
        ("coarse_floors", ("slabs",), "coarse floors", ()),
        ("layout_floors", ("unlevel",), "layout floors", ()),
        ("drift_floors", ("smears",), "drift floors", ()),
    ],
)
def test_a_recipe_without_lakes_or_floors_leaves_them_out(
    key: str, value: object, what: str, without: object, photographs: Path, tmp_path: Path
) -> None:
    dry = dataclasses.replace(toy_recipe().generator, drift=0.3)
    plain = toy_recipe(images=64, generator=dry)
    generator = dataclasses.replace(dry, **{key: value})  # type: ignore[arg-type]
    run(photographs, toy_recipe(images=32, generator=generator), tmp_path / "with")
    model = str(tmp_path / "with" / "model")
    told = [str(event) for event in run(photographs, plain, tmp_path / "plain", start=model)]
    assert any(f"model's {what} are left out" in line for line in told)
    kept = str(tmp_path / "plain" / "model")
    assert getattr(load_model(kept).recipe.generator, key) == without
    made = toy_recipe(images=96, generator=generator)
    with pytest.raises(ModelError, match="another generator"):
        run(photographs, made, tmp_path / "made", start=kept)


def test_every_step_is_told_the_floors_of_the_drift(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Floors | None] = []
    real = steps.draw_scene

    def watched(
        recipe: TrainRecipe, draws: Draws, *, paired: bool, drift_floors: Floors | None
    ) -> Scene:
        given.append(drift_floors)
        return real(recipe, draws, paired=paired, drift_floors=drift_floors)

    monkeypatch.setattr(steps, "draw_scene", watched)
    drifting = dataclasses.replace(toy_recipe().generator, drift=0.3, drift_floors=("smears",))
    run(photographs, toy_recipe(images=64, generator=drifting), tmp_path / "run")
    assert given
    assert all(floors is not None and len(floors.least) == 1 for floors in given)
