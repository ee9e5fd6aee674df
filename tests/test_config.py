"""Recipes: what is written is what is read, and what cannot be is said in one line."""

from __future__ import annotations

import datetime
import tomllib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infinite_render.config import (
    DetailConfig,
    GeneratorConfig,
    ModelRecipe,
    RenderConfig,
    format_toml,
    from_dict,
    parse_toml,
    to_dict,
)
from infinite_render.errors import RecipeError

MODERATE = settings(max_examples=200, deadline=None, derandomize=True, database=None)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
plain = (
    text
    | st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.lists(st.integers(0, 9), max_size=3)
    | st.dates()
)
tables = st.recursive(
    st.dictionaries(text, plain, max_size=3),
    lambda inner: st.dictionaries(text, inner | plain, max_size=3),
    max_leaves=6,
)
sizes = st.integers(1, 600)


@st.composite
def generators(draw: st.DrawFn) -> GeneratorConfig:
    return GeneratorConfig(
        global_dim=draw(sizes),
        local_dim=draw(sizes),
        structure_dim=draw(sizes),
        structure_layers=draw(st.integers(1, 8)),
        structure_radius=draw(st.integers(0, 5)),
        texture_dims=tuple(draw(st.lists(sizes, min_size=1, max_size=7))),
        cut=draw(st.floats(0.01, 100)),
        coordinates=draw(st.booleans()),
    )


def refused(said: str, text: str) -> None:
    with pytest.raises(RecipeError, match=said) as caught:
        parse_toml(ModelRecipe, text, "model.toml")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("model.toml")


@MODERATE
@given(text, generators(), tables)
def test_a_recipe_that_is_written_is_the_one_that_is_read(
    name: str, generator: GeneratorConfig, trained: dict[str, Any]
) -> None:
    recipe = ModelRecipe(name, generator, RenderConfig(1024, 4096), None, trained)
    assert parse_toml(ModelRecipe, format_toml(recipe), "model.toml") == recipe
    laddered = replace(recipe, detail=DetailConfig(low_dim=5))
    assert parse_toml(ModelRecipe, format_toml(laddered), "model.toml") == laddered


def test_no_text_is_the_default() -> None:
    assert parse_toml(ModelRecipe, "", "model.toml") == ModelRecipe()
    assert parse_toml(ModelRecipe, format_toml(ModelRecipe()), "model.toml") == ModelRecipe()


def test_the_toml_reads_like_one_written_by_hand() -> None:
    recipe = ModelRecipe("sea", trained={"on": datetime.date(2026, 1, 2), "by hand": {"a.b": 1}})
    text = format_toml(recipe)
    assert text.startswith('name = "sea"\n\n[generator]\nglobal_dim = 128\n')
    assert "texture_dims = [128, 96, 48]\n" in text
    assert text.endswith('[trained]\non = 2026-01-02\n\n[trained."by hand"]\n"a.b" = 1\n')
    assert tomllib.loads(text)["trained"]["by hand"] == {"a.b": 1}


def test_what_has_no_value_is_left_out() -> None:
    assert "detail" not in to_dict(ModelRecipe())
    assert tomllib.loads(format_toml(ModelRecipe(trained={"a": None})))["trained"] == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nam = 'x'", r"unknown key 'nam'; did you mean 'name'\?"),
        ("[generator]\nlocal_dims = 3", r"'generator.local_dims'; did you mean 'local_dim'\?"),
        ("[generator]\ntexture_dim = [3]", "did you mean 'texture_dims'"),
        ("[render]\ncel_px = 3", "'render.cel_px'; did you mean 'cell_px'"),
        ("zzz = 3", "unknown key 'zzz'$"),
        ("[generator.more]\na = 1", "unknown key 'generator.more'"),
    ],
)
def test_an_unknown_key_proposes_the_nearest(text: str, said: str) -> None:
    refused(said, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = 3", "name = 3 must be of type str"),
        ("generator = 3", "generator = 3 must be a table"),
        ("generator = [1]", "must be a table"),
        ("[[generator]]\nlocal_dim = 3", "must be a table"),
        ("trained = 'long'", "trained = 'long' must be of type dict"),
        ("[generator]\nlocal_dim = 3.0", "generator.local_dim = 3.0 must be of type int"),
        ("[generator]\nlocal_dim = true", "must be of type int"),
        ("[generator]\nlocal_dim = '3'", "must be of type int"),
        ("[generator]\ncut = '3'", "must be of type float"),
        ("[generator]\ncoordinates = 1", "must be of type bool"),
        ("[generator]\ntexture_dims = 3", "generator.texture_dims = 3 must be a list"),
        ("[generator]\ntexture_dims = 'abc'", "must be a list"),
        (
            "[generator]\ntexture_dims = [3, 'x']",
            "generator.texture_dims = 'x' must be of type int",
        ),
        ("name = ", "model.toml is not TOML"),
        ("a = 1\na = 2", "model.toml is not TOML"),
    ],
)
def test_a_value_of_another_type_is_refused(text: str, said: str) -> None:
    refused(said, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[generator]\nlocal_dim = 0", "1 to 65536 channels"),
        ("[generator]\nglobal_dim = -4", "1 to 65536 channels"),
        ("[generator]\nstructure_dim = 1_000_000_000", "1 to 65536 channels"),
        ("[generator]\ntexture_dims = []", "texture_dims one or more"),
        ("[generator]\ntexture_dims = [8, 0]", "1 to 65536 channels"),
        (f"[generator]\ntexture_dims = {[1] * 25}", "24 at most"),
        ("[generator]\nstructure_layers = -1", "0 or more"),
        ("[generator]\nstructure_layers = 1000000000", "24 at most"),
        ("[generator]\nstructure_layers = 0", "structure_dim must equal local_dim"),
        ("[generator]\nstructure_radius = -1", "0 or more"),
        ("[generator]\nmapping_layers = -1", "mapping_layers 0 or more"),
        ("[generator]\npatch_cells = 5", "must be over 5"),
        ("[generator]\nstart_rows = 0", "1 or more"),
        ("[generator]\nperiod_cells = 0", "1 or more"),
        ("[generator]\ncut = 0.0", "over 0 and finite"),
        ("[generator]\ncut = nan", "over 0 and finite"),
        ("[generator]\ncut = inf", "over 0 and finite"),
        ("[render]\ncell_px = 0", "must be a multiple"),
        ("[render]\ncell_px = 500", "must be a multiple of cell_px = 500"),
        ("[render]\ncell_px = -512", "must be a multiple"),
        (
            "[render]\ncell_px = 4\nblock_px = 64",
            "render.cell_px = 4 must be a multiple of the 8 px",
        ),
        ("[detail]\nzooms = 0", "must be positive"),
        (f"[generator]\npatch_cells = {10**23}", f"patch_cells = {10**23} must be 1048576 at most"),
        ("[generator]\nstart_rows = 1048577", "start_rows = 1048577 must be 1048576 at most"),
        ("[generator]\nperiod_cells = 1048577", "period_cells = 1048577 must be 1048576 at most"),
        (
            "[render]\nblock_px = 512000000",
            "render.block_px = 512000000 must be 16384 at most",
        ),
        ("[render]\ncell_px = 32768\nblock_px = 32768", "block_px = 32768 must be 16384 at most"),
        ("[render]\ncell_px = 4096\nblock_px = 2048", "must be a multiple of cell_px = 4096"),
        ("[detail]\nhigh_dim = 65537", "high_dim = 65537 must be 65536 at most"),
        ("[detail]\nlow_layers = 25", "low_layers = 25 must be 24 at most"),
        ("[detail]\nzooms = 1000000000", "zooms = 1000000000 must be 24 at most"),
        (f"[generator]\ncut = {10**400}", "generator.cut is a whole number too large"),
        (f"[generator]\npatch_cells = {'9' * 5000}", "is not TOML: Exceeds the limit"),
    ],
)
def test_a_size_that_makes_no_sense_is_refused(text: str, said: str) -> None:
    refused(said, text)


def test_the_largest_sizes_are_allowed() -> None:
    text = (
        "[generator]\npatch_cells = 1048576\nstart_rows = 1048576\nperiod_cells = 1048576\n"
        "[render]\ncell_px = 16384\nblock_px = 16384\n[detail]\nzooms = 24"
    )
    recipe = parse_toml(ModelRecipe, text, "model.toml")
    assert recipe.generator.span_cells == 2**21 - 1
    assert recipe.render.block_px == 2**14


def test_a_whole_number_is_a_float_and_a_list_a_tuple() -> None:
    config = from_dict(GeneratorConfig, {"cut": 3, "texture_dims": [8, 4]})
    assert (config.cut, type(config.cut), config.texture_dims) == (3.0, float, (8, 4))


def test_sizes_that_follow_from_the_others() -> None:
    paper = GeneratorConfig(
        256, 256, 256, 4, 3, (512, 512, 512, 512), start_rows=10, period_cells=139
    )
    assert (paper.blocks, paper.stride, paper.patch_px, paper.styles) == (4, 16, 101, 9)
    assert paper.structure_margin_cells == 12
    assert paper.band_px == (30, 30 + 101 + 16 * 9)
    assert replace(paper, padding=True).patch_px == 176
