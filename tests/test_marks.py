"""Marks by eye become a floor: styles that were marked down are kept from, judges count alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import SMALL, random_model

from infinite_render.errors import DataError, ModelError
from infinite_render.fields.styles import Style
from infinite_render.models import Model
from infinite_render.nn.truncation import Truncation
from infinite_render.training.marks import (
    Mark,
    read_marks,
    seen_by_marks,
    with_marks,
)


def truncated() -> Model:
    """A small model with a truncation of its own."""
    model = random_model(SMALL)
    render = dataclasses.replace(model.recipe.render, truncation=0.7)
    return dataclasses.replace(model, recipe=dataclasses.replace(model.recipe, render=render))


def styles_of(model: Model, seeds: range) -> torch.Tensor:
    z_global = torch.from_numpy(np.stack([Style(seed).z_global(8) for seed in seeds]))
    return Truncation(model.generator, 0.7).latents(z_global)[1][:, 0]


def test_marks_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "marks.csv"
    path.write_text("judge,seed,mark\nann,3,0\nbob,-4,2.5\n")
    assert read_marks(path) == [Mark("ann", 3, 0.0), Mark("bob", -4, 2.5)]


@pytest.mark.parametrize(
    "text", ["", "seed,mark\n3,1\n", "judge,seed,mark\nann,3\n", "judge,seed,mark\nann,x,1\n"]
)
def test_what_is_no_file_of_marks_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "marks.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=r"holds no marks .*; give a CSV file of judge,seed,mark"):
        read_marks(path)
    with pytest.raises(DataError, match="holds no marks"):
        read_marks(tmp_path / "none.csv")


def test_marks_count_from_what_is_usual_for_their_judge() -> None:
    marks = [Mark("mild", 1, 0), Mark("strict", 2, 2), Mark("mild", 3, 1), Mark("strict", 1, 3)]
    seen = seen_by_marks(truncated(), marks)
    assert seen.measures[:, 0].tolist() == [0.5, 0.5, -0.5, -0.5]
    assert seen.latents[0].equal(seen.latents[3])
    torch.testing.assert_close(seen.latents[:3], styles_of(truncated(), range(1, 4)))


def test_styles_that_were_marked_down_are_kept_from() -> None:
    model, seeds = truncated(), range(300)
    w = styles_of(model, seeds)
    disliked = w[:, 2] > w[:, 2].median()
    marks = [Mark("ann", seed, 2.0 * bool(bad)) for seed, bad in zip(seeds, disliked, strict=True)]
    seen = seen_by_marks(model, marks)
    liked = with_marks(model, seen, 0.8)
    floors = liked.generator.floors
    assert floors is not None
    below = (w @ floors.reads[0] < floors.least[0]).float().mean()
    assert abs(below - 0.8) < 0.01
    assert styles_of(liked, seeds)[disliked, 2].mean() < w[disliked, 2].mean() - 0.3 * w[:, 2].std()
    with pytest.raises(ModelError, match="floors already"):
        with_marks(liked, seen, 0.8)
    with pytest.raises(ModelError, match="not truncated"):
        with_marks(random_model(SMALL), seen, 0.8)
