"""Training recipes: the shipped ones, their files, and what is refused."""

import dataclasses
from pathlib import Path

import pytest

from infinite_render.config import GeneratorConfig, format_toml, parse_toml
from infinite_render.errors import RecipeError
from infinite_render.training.recipes import (
    CriticConfig,
    DataConfig,
    LossConfig,
    TrainRecipe,
    known_recipes,
    load_recipe,
)
from infinite_render.training.runs import recipe_difference

SIZES = {  # patch px, image px
    "default": (53, 101),
    "default-nci": (53, 101),
    "default-whole": (101, 101),
    "paper": (101, 197),
    "paper-hr": (197, 389),
    "paper-ur": (773, 1024),
    "stylegan2-nci": (96, 197),
    "stylegan2-nci-fcg": (101, 197),
    "tiny": (29, 53),
}


def test_the_shipped_recipes_have_the_papers_sizes() -> None:
    recipes = {name: load_recipe(name) for name in known_recipes()}
    assert {n: (r.generator.patch_px, r.data.image_px) for n, r in recipes.items()} == SIZES
    assert all(recipe.name == name for name, recipe in recipes.items())


def test_a_shipped_band_is_as_high_as_its_photographs() -> None:
    for name in ("default", "default-whole", "tiny"):
        recipe = load_recipe(name)
        first_px, last_px = recipe.generator.band_px
        assert last_px - first_px == recipe.data.image_px


def test_the_ablations_differ_in_padding_only() -> None:
    padded, free = load_recipe("stylegan2-nci"), load_recipe("stylegan2-nci-fcg")
    assert padded.generator.structure_layers == free.generator.structure_layers == 0
    assert (padded.generator.padding, free.generator.padding) == (True, False)
    assert recipe_difference(padded, free) == (
        "generator.padding was True, now False, generator.patch_cells was 6, now 11"
    )


def test_the_small_ablation_is_the_default_without_a_structure_synthesizer() -> None:
    default, ablation = load_recipe("default"), load_recipe("default-nci")
    same = dataclasses.replace(ablation, name="default", about=default.about, loss=default.loss)
    assert recipe_difference(default, same) == (
        "generator.coordinates was True, now False, generator.local_dim was 32, now 96, "
        "generator.structure_layers was 4, now 0"
    )
    assert (ablation.loss.position, ablation.loss.diversity) == (0.0, 0.0)
    rest = dataclasses.replace(
        ablation.loss, position=default.loss.position, diversity=default.loss.diversity
    )
    assert rest == default.loss


def test_the_second_stage_is_the_default_with_whole_frames() -> None:
    assert recipe_difference(load_recipe("default"), load_recipe("default-whole")) == (
        "adam.critic_rate was 0.0005, now 0.00045, adam.generator_rate was 0.002, now 0.0015, "
        "augment.contrast was 0.3, now 0.5, augment.sharpness was 1.0, now 4.0, "
        "augment.zoom was 1.0, now 2.4, data.outside was 0.0, now 0.5, "
        "data.outside_rows was 5, now 6, "
        "generator.patch_cells was 11, now 17, generator.start_rows was 7, now 1, "
        "loss.position was 1.0, now 0.0, truncated was 0.0, now 0.7, "
        "truncation was 0.7, now 0.5"
    )


def test_a_recipe_is_read_back_from_its_own_text(tmp_path: Path) -> None:
    for name in known_recipes():
        recipe = load_recipe(name)
        path = tmp_path / f"{name}.toml"
        path.write_text(format_toml(recipe))
        assert load_recipe(path) == recipe


def test_an_unknown_name_or_key_is_told_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"unknown recipe 'pape'; did you mean 'paper'"):
        load_recipe("pape")
    with pytest.raises(RecipeError, match=r"unknown key 'loss\.diversty'; did you mean 'divers"):
        parse_toml(TrainRecipe, "[loss]\ndiversty = 1.0\n", "file")


def test_a_patch_larger_than_its_image_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"patch \(53 px\) is larger than its image"):
        dataclasses.replace(load_recipe("default"), data=DataConfig(image_px=52))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch": 15}, "must be even"),
        ({"batch": 0}, "1 or more"),
        ({"seed": -1}, "seed = -1"),
        ({"critic": {"kind": "residual", "dims": [8, 8]}}, "needs 5"),
        ({"critic": {"kind": "residual"}}, "two sizes"),
        ({"critic": {"kind": "projected", "input_px": 50}}, "multiple of 32"),
        ({"data": {"zooms": [0.5]}}, r"\[1, 100\]"),
        ({"data": {"zooms": [float("nan")]}}, r"\[1, 100\]"),
        ({"data": {"image_px": 10**9}}, "image_px = 1000000000"),
        ({"data": {"outside": 1.5}}, r"data\.outside = 1\.5 must be in \[0, 1\]"),
        ({"data": {"outside": 0.5, "outside_rows": 9}}, r"data\.outside_rows = 9 must be 1 to \d"),
        (
            {
                "data": {"outside": 0.5, "outside_rows": 1},
                "generator": {"start_rows": 1},
                "loss": {"position": 1.0},
            },
            r"start_rows = 1 gives every patch one position",
        ),
        ({"critic": {"kind": "residual", "dims": [8, 8, 0, 8, 8]}}, r"critic\.dims = 0"),
        ({"loss": {"r1": -1.0}}, r"loss\.r1 = -1\.0 must be in \[0, "),
        ({"loss": {"diversity": float("nan")}}, r"loss\.diversity = nan"),
        ({"adam": {"generator_rate": -0.1}}, r"adam\.generator_rate = -0\.1"),
        ({"adam": {"beta1": 1.0}}, r"adam\.beta1 = 1\.0"),
        ({"augment": {"probability": 2.0}}, r"augment\.probability = 2\.0 must be in \[0, 1\]"),
        ({"augment": {"translation": 1.0}}, r"augment\.translation = 1\.0 must be in \[0, 0\.5\]"),
        ({"augment": {"zoom": 0.5}}, r"augment\.zoom = 0\.5 must be in \[1, 100\]"),
        ({"augment": {"sharpness": 0.0}}, r"augment\.sharpness = 0\.0 must be in \[1, 100\]"),
        ({"ema_half_life_images": 0.0}, "ema_half_life_images = 0"),
        ({"ema_ramp": float("nan")}, "ema_ramp = nan"),
        ({"truncated": 2.0}, r"truncated = 2\.0 must be in \[0, 1\]"),
        ({"truncation": 0.0}, r"truncation = 0\.0 must be in \[0\.01, 1\]"),
        (
            {"loss": {"path": 2.0}, "generator": {"mapping_layers": 0}},
            "mapping_layers of 1 or more",
        ),
        ({"loss": {"style_mixing": 2.0}}, r"\[0, 1\]"),
        ({"loss": {"adversarial": "wasserstein"}}, "is not one of"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, object], words: str) -> None:
    from infinite_render.config import from_dict, to_dict

    values = to_dict(load_recipe("default"))
    for key, value in change.items():
        values[key] = value
    with pytest.raises(RecipeError, match=words):
        from_dict(TrainRecipe, values)


def test_pairs_are_drawn_only_for_the_diversity_loss() -> None:
    unpaired = TrainRecipe(
        generator=GeneratorConfig(),
        critic=CriticConfig(kind="projected"),
        loss=LossConfig(diversity=0.0),
        batch=15,
    )
    assert not unpaired.paired
