"""Marks by eye become a floor: styles that were marked down are kept from, judges count alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import SMALL, random_model, truncated
from torch import Tensor

from infinite_render.errors import DataError, ModelError
from infinite_render.fields.styles import OneStyle, Style
from infinite_render.models import Model
from infinite_render.nn.truncation import Truncation
from infinite_render.rendering.scene import Scene
from infinite_render.training.marks import Mark, read_marks, seen_by_marks, with_marks


def styles_of(model: Model, seeds: range) -> Tensor:
    z_global = torch.from_numpy(np.stack([Style(seed).z_global(8) for seed in seeds]))
    return Truncation(model.generator, 0.7).latents(z_global)[1][:, 0]


def marked(model: Model, seeds: range, channel: int) -> list[Mark]:
    """Marks by one who dislikes styles that are high in a channel."""
    values = styles_of(model, seeds)[:, channel]
    return [
        Mark("ann", seed, 2.0 * bool(value > values.median()))
        for seed, value in zip(seeds, values, strict=True)
    ]


def test_marks_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "marks.csv"
    path.write_text('\ufeffjudge,seed,mark\nann,3,0\n\n"b,ob",-4,2.5\n', encoding="utf-8")
    assert read_marks(path) == [Mark("ann", 3, 0.0), Mark("b,ob", -4, 2.5)]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "its first line is not judge,seed,mark"),
        ("seed,mark\n3,1\n", "its first line is not"),
        ("judge,seed,mark\nann,3\n", "no judge,seed,mark is 'ann,3'"),
        ("judge,seed,mark\nann,x,1\n", "no judge,seed,mark is 'ann,x,1'"),
        ("judge,seed,mark\nann,1,30\n", "no mark is 30 in 'ann,1,30'"),
        ("judge,seed,mark\nann,1,nan\n", "no mark is nan"),
    ],
)
def test_what_is_no_file_of_marks_is_named(text: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / "marks.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=f"{what}.*; give lines of judge,seed,mark"):
        read_marks(path)
    with pytest.raises(DataError, match="holds no marks"):
        read_marks(tmp_path / "none.csv")


def test_marks_count_from_what_is_usual_for_their_judge() -> None:
    mild = [Mark("mild", seed, seed % 2) for seed in range(6)]
    strict = [Mark("strict", seed, 2 + seed % 2) for seed in range(4, 10)]
    seen = seen_by_marks(truncated(random_model(SMALL)), mild + strict)
    assert seen.measures[:, 0].tolist() == [0.5, -0.5] * 6
    assert seen.latents[4:6].equal(seen.latents[6:8])  # seeds 4 and 5, by both
    with pytest.raises(DataError, match="6 seeds are too few for styles of 8 channels; mark 9"):
        seen_by_marks(random_model(SMALL), 3 * mild)


def test_marks_are_of_the_styles_that_a_scene_paints(monkeypatch: pytest.MonkeyPatch) -> None:
    model = truncated(random_model(SMALL))
    seen = seen_by_marks(model, [Mark("ann", seed, seed % 2) for seed in range(10)])
    painted = []
    real = Truncation.latents

    def watched(
        self: Truncation, z_global: Tensor, kept: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        painted.append(real(self, z_global, kept))
        return painted[-1]

    monkeypatch.setattr(Truncation, "latents", watched)
    Scene(model, seed=4, styles=OneStyle(Style(4))).render(0, 0, 16, 16)
    torch.testing.assert_close(painted[-1][1][0, 0], seen.latents[4])


def test_styles_that_were_marked_down_are_kept_from() -> None:
    model, seeds = truncated(random_model(SMALL)), range(300)
    w = styles_of(model, seeds)
    marks = marked(model, seeds, 2)
    liked = with_marks(model, "tone", seen_by_marks(model, marks), 0.8)
    assert liked.recipe.generator.floors == ("tone",)
    floors = liked.generator.floors
    assert floors is not None
    below = (w @ floors.reads[0] < floors.least[0]).float().mean()
    assert abs(below - 0.8) < 0.01
    disliked = torch.tensor([mark.mark > 0 for mark in marks])
    assert styles_of(liked, seeds)[disliked, 2].mean() < w[disliked, 2].mean() - 0.3 * w[:, 2].std()
    with pytest.raises(ModelError, match="floors of tone already"):
        with_marks(liked, "tone", seen_by_marks(liked, marks), 0.8)
    with pytest.raises(ModelError, match="not truncated"):
        with_marks(random_model(SMALL), "tone", seen_by_marks(model, marks), 0.8)


def test_further_marks_leave_the_first_floor_where_it_is() -> None:
    model, seeds = truncated(random_model(SMALL)), range(300)
    one = with_marks(model, "tone", seen_by_marks(model, marked(model, seeds, 2)), 0.8)
    two = with_marks(one, "form", seen_by_marks(one, marked(one, seeds, 5)), 0.6)
    assert two.recipe.generator.floors == ("tone", "form")
    assert one.generator.floors is not None
    assert two.generator.floors is not None
    first, both = one.generator.floors, two.generator.floors
    assert both.reads[0].equal(first.reads[0])
    assert both.least[0] == first.least[0]
    torch.testing.assert_close(both.reads @ both.moves.T, torch.eye(2), atol=1e-5, rtol=0)
