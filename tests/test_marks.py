"""Marks by eye become a floor: styles that were marked down are kept from, judges count alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import SMALL, random_model, truncated
from torch import Tensor

from infinite_render.errors import DataError, ModelError, UsageError
from infinite_render.fields.local import LocalLaw, drift_in
from infinite_render.fields.styles import OneStyle, Style
from infinite_render.geometry import Window
from infinite_render.models import Model, load_model
from infinite_render.nn.truncation import Truncation
from infinite_render.noise import Array
from infinite_render.rendering.scene import Scene
from infinite_render.training.marks import (
    WIDTH_PX,
    Mark,
    Marks,
    read_marks,
    seen_by_marks,
    with_marks,
)

MARKS = Path(__file__).parents[1] / "examples" / "marks"


def styles_of(model: Model, seeds: range) -> Tensor:
    z_global = torch.from_numpy(np.stack([Style(seed).z_global(8) for seed in seeds]))
    return Truncation(model.generator, 0.7).latents(z_global)[1][:, 0]


def given(model: Model, seeds: range, channel: int) -> list[Mark]:
    """Marks by one who dislikes styles that are high in a channel."""
    values = styles_of(model, seeds)[:, channel]
    return [
        Mark("ann", seed, (2.0 * bool(value > values.median()),))
        for seed, value in zip(seeds, values, strict=True)
    ]


def marked(model: Model, name: str, seeds: range, channel: int) -> Marks:
    return Marks((name,), given(model, seeds, channel))


def test_marks_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "marks.csv"
    text = '\ufeffjudge,seed,tone,form\nann,3,0,1\n\n"b,ob",-4,2.5,3\n'
    path.write_text(text, encoding="utf-8")
    read = read_marks(path)
    assert read.names == ("tone", "form")
    assert read.given == [Mark("ann", 3, (0.0, 1.0)), Mark("b,ob", -4, (2.5, 3.0))]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "its first line does not name the columns"),
        ("seed,mark\n3,1\n", "its first line does not name the columns"),
        ("judge,seed\nann,3\n", "its first line does not name the columns"),
        ("judge,seed,a,a\nann,3,1,1\n", "its first line does not name the columns"),
        ("judge,seed,\nann,3,1\n", "its first line does not name the columns"),
        ("judge,seed,a\nann,3\n", "line 2 is not a judge, a seed and marks, one a fault, 1"),
        ("judge,seed,a\nann,3,1,1\n", "line 2 is not a judge, a seed and marks, one a fault, 1"),
        ("judge,seed,a\n\nann,x,1\n", "line 3 is not a judge, a seed and marks, one a fault, 1"),
        ("judge,seed,a\nann,1,30\n", "line 2 has a mark that is not 0 to 3"),
        ("judge,seed,a\nann,1,nan\n", "line 2 has a mark that is not 0 to 3"),
    ],
)
def test_what_is_no_file_of_marks_is_named(text: str, what: str, tmp_path: Path) -> None:
    path = tmp_path / "marks.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=f"{what}; give lines of judge,seed and a mark"):
        read_marks(path)
    with pytest.raises(DataError, match="holds no marks"):
        read_marks(tmp_path / "none.csv")


def test_marks_count_from_what_is_usual_for_their_judge() -> None:
    mild = [Mark("mild", seed, (seed % 2,)) for seed in range(6)]
    strict = [Mark("strict", seed, (2 + seed % 2,)) for seed in range(4, 10)]
    seen = seen_by_marks(truncated(random_model(SMALL)), mild + strict)
    assert seen.measures[:, 0].tolist() == [0.5, -0.5] * 6
    assert seen.latents[4:6].equal(seen.latents[6:8])  # seeds 4 and 5, by both
    with pytest.raises(DataError, match="6 seeds are too few for latents of 8 channels; mark 9"):
        seen_by_marks(random_model(SMALL), 3 * mild)


def test_marks_are_of_the_styles_that_a_scene_paints(monkeypatch: pytest.MonkeyPatch) -> None:
    model = truncated(random_model(SMALL))
    seen = seen_by_marks(model, [Mark("ann", seed, (seed % 2,)) for seed in range(10)])
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
    marks = marked(model, "tone", seeds, 2)
    liked = with_marks(model, marks, [0.8])
    assert liked.recipe.generator.floors == ("tone",)
    floors = liked.generator.floors
    assert floors is not None
    below = (w @ floors.reads[0] < floors.least[0]).float().mean()
    assert abs(below - 0.8) < 0.01
    disliked = torch.tensor([mark.faults[0] > 0 for mark in marks.given])
    assert styles_of(liked, seeds)[disliked, 2].mean() < w[disliked, 2].mean() - 0.3 * w[:, 2].std()
    with pytest.raises(ModelError, match="floors of tone already"):
        with_marks(liked, marks, [0.8])
    with pytest.raises(ModelError, match="not truncated"):
        with_marks(random_model(SMALL), marks, [0.8])


def test_further_marks_leave_the_first_floor_where_it_is() -> None:
    model, seeds = truncated(random_model(SMALL)), range(300)
    one = with_marks(model, marked(model, "tone", seeds, 2), [0.8])
    two = with_marks(one, marked(one, "form", seeds, 5), [0.6])
    assert two.recipe.generator.floors == ("tone", "form")
    assert one.generator.floors is not None
    assert two.generator.floors is not None
    first, both = one.generator.floors, two.generator.floors
    assert both.reads[0].equal(first.reads[0])
    assert both.least[0] == first.least[0]
    torch.testing.assert_close(both.reads @ both.moves.T, torch.eye(2), atol=1e-5, rtol=0)


def test_marks_of_forms_move_coarse_styles_alone() -> None:
    model, seeds = truncated(random_model(SMALL)), range(300)
    tone, form = given(model, seeds, 2), given(model, seeds, 5)
    both = [Mark("ann", a.seed, a.faults + b.faults) for a, b in zip(tone, form, strict=True)]
    liked = with_marks(model, Marks(("tone", "form"), both), [0.8], "coarse_floors")
    assert liked.recipe.generator.floors == ()
    assert liked.recipe.generator.coarse_floors == ("tone", "form")
    before, after = styles_of(model, seeds), styles_of(liked, seeds)
    for channel, marks in ((2, tone), (5, form)):
        disliked = torch.tensor([mark.faults[0] > 0 for mark in marks])
        moved = (after - before)[disliked, channel].mean()
        assert moved < -0.3 * before[:, channel].std()


def test_marks_of_what_stands_where_move_layouts_alone() -> None:
    model, seeds = truncated(random_model(SMALL)), range(300)
    z_global = torch.from_numpy(np.stack([Style(seed).z_global(8) for seed in seeds]))
    marks = [
        Mark("ann", seed, (2.0 * bool(z[3] > 0),)) for seed, z in zip(seeds, z_global, strict=True)
    ]
    once = with_marks(model, Marks(("mud",), marks), [0.5], "layout_floors")
    other = [mark._replace(faults=(mark.seed % 3,)) for mark in marks]
    liked = with_marks(once, Marks(("haze",), other), [0.5], "layout_floors")
    with pytest.raises(ModelError, match="differ too little in 8 channels"):
        with_marks(once, Marks(("haze",), marks[::-1]), [0.5], "layout_floors")
    assert liked.recipe.generator.layout_floors == ("mud", "haze")
    (layouts, w), (moved, same) = (
        Truncation(each.generator, 0.7).latents(z_global) for each in (model, once)
    )
    assert same.equal(w)
    disliked = z_global[:, 3] > 0.5
    assert (moved - layouts)[disliked, 3].mean() < -0.3
    assert (moved - layouts)[z_global[:, 3] < -1].abs().max() < 0.05


def test_marks_of_what_drifts_move_it_alone_and_each_fault_by_its_share() -> None:
    config, seeds = replace(SMALL, drift_cells=48), range(300)
    model = truncated(random_model(config))
    picture = Window(0, 0, config.span_cells, WIDTH_PX // config.stride)

    def drifts(law: LocalLaw) -> Array:
        return np.stack(
            [drift_in(s, picture, config.local_dim, law).mean(axis=(1, 2)) for s in seeds]
        )

    before = drifts(LocalLaw.of(config))
    marks = [
        Mark("ann", seed, (2.0 * bool(one[1] > 0), 2.0 * bool(one[2] > 0)))
        for seed, one in zip(seeds, before, strict=True)
    ]
    liked = with_marks(model, Marks(("smears", "bare"), marks), [0.7, 0.2], "drift_floors")
    assert liked.recipe.generator.drift_floors == ("smears", "bare")
    floors = liked.generator.drift_floors
    assert floors is not None
    below = (torch.from_numpy(before) @ floors.reads.T < floors.least).float().mean(dim=0)
    torch.testing.assert_close(below, torch.tensor([0.7, 0.2]), atol=0.01, rtol=0)
    after = drifts(LocalLaw.of(liked.recipe.generator, 0.7, floors))
    moved = after - before
    smeared, clear = before[:, 1] > 0.3, before[:, 1] < -0.8
    # Parts of a clear one read low, too.
    assert moved[smeared, 1].mean() < 2 * moved[clear, 1].mean() < 0
    assert moved[smeared, 1].mean() < -0.5
    assert abs(moved[:, 3]).mean() < 0.15
    z_global = torch.from_numpy(np.stack([Style(seed).z_global(8) for seed in range(3)]))
    before_all, after_all = (
        Truncation(each.generator, 0.7).latents(z_global) for each in (model, liked)
    )
    assert all(one.equal(other) for one, other in zip(before_all, after_all, strict=True))
    for few in ([0.7, 0.2, 0.1], []):
        with pytest.raises(UsageError, match=f"{len(few)} shares are given for 2 measures"):
            with_marks(model, Marks(("smears", "bare"), marks), few, "drift_floors")
    few_seeds = Marks(("smears",), [Mark("ann", seed, (0,)) for seed in range(4)])
    with pytest.raises(DataError, match="4 seeds are too few for latents of 4 channels; mark 5"):
        with_marks(model, few_seeds, [0.5], "drift_floors")
    still = truncated(random_model(replace(SMALL, drift=0.0)))
    with pytest.raises(ModelError, match="nothing drifts of the latents of model random"):
        with_marks(still, Marks(("smears", "bare"), marks), [0.7, 0.2], "drift_floors")


def test_the_drift_of_the_model_in_the_box_is_floored_by_its_marks() -> None:
    shipped = load_model("landscape")
    floors = shipped.generator.drift_floors
    assert floors is not None
    before = replace(shipped.recipe.generator, drift_floors=())
    recipe = replace(shipped.recipe, generator=before)
    model = replace(shipped, recipe=recipe)
    shipped.generator.drift_floors = None
    marks = read_marks(MARKS / "sky.csv")
    found = with_marks(model, marks, [0.9, 0.2], "drift_floors").generator.drift_floors
    assert found is not None
    for name, expected in floors.named_buffers():
        torch.testing.assert_close(getattr(found, name), expected, atol=1e-4, rtol=1e-4)
