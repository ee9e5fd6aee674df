"""Level streaks are told from land, and layouts that ask for them are moved."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from small_models import SMALL, random_generator, random_model, truncated
from torch import Tensor

from infinite_render.describe import describe_model
from infinite_render.errors import ModelError
from infinite_render.models import load_model, save_with_weights
from infinite_render.nn.truncation import Truncation
from infinite_render.rendering.scene import Scene
from infinite_render.training import painting
from infinite_render.training.floors import Seen, joined, with_more_floors
from infinite_render.training.levels import (
    LEAST,
    layouts_fitted,
    look_at_levels,
    unlevel_of,
    with_levels,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def found() -> Seen:
    """A measure that is linear in two of six channels, but for noise."""
    z = normal(4000, 6)
    return Seen(z, (0.03 * z[:, 0] - 0.04 * z[:, 3] + 0.01 * normal(4000, seed=1))[:, None])


def test_level_streaks_are_told_from_land_and_from_faint_skies() -> None:
    frames = torch.full((6, 3, 100, 60), 0.0)
    lines = torch.where(torch.arange(100) // 3 % 2 == 1, 0.4, -0.4)
    frames[1] += lines[:, None]  # streaks
    frames[2] += lines[None, :60]  # the same, upright
    frames[3] += 0.4 * normal(3, 100, 60).sign()  # rocks
    frames[4] += 0.015 * torch.arange(100)[:, None] - 0.75  # a sky's gradient, fainter
    frames[5, :, 95:] += lines[:5, None]  # streaks, but not where far land may be
    unlevel = unlevel_of(frames)
    assert unlevel.shape == (6, 1)
    assert unlevel[1] < 0.8
    assert unlevel[[0, 2, 4, 5]].eq(1).all()
    assert unlevel[3] > 0.95


def test_floors_of_layouts_read_in_deviations_along_what_was_measured() -> None:
    floors = layouts_fitted(found())
    expected = torch.tensor([0.6, 0, 0, -0.8, 0, 0])
    torch.testing.assert_close(floors.reads[0], expected, atol=0.02, rtol=0)
    assert floors.moves.equal(floors.reads)
    z = normal(2000, 6, seed=2)
    before, after = z @ floors.reads[0], floors(z) @ floors.reads[0]
    assert before.min() < -2
    assert after.min() > LEAST - 0.01
    high = before > LEAST + 1
    torch.testing.assert_close(after[high], before[high], atol=0.01, rtol=0)
    across = torch.eye(6) - floors.reads.T @ floors.reads
    torch.testing.assert_close(floors(z) @ across, z @ across, atol=1e-5, rtol=0)


def test_truncation_keeps_layouts_up_in_training_as_in_pictures() -> None:
    generator = random_generator(dataclasses.replace(SMALL, layout_floors=("unlevel",)))
    plain = random_generator(SMALL)
    assert generator.layout_floors is not None
    generator.layout_floors.reads[0, 0] = generator.layout_floors.moves[0, 0] = 1.0
    generator.layout_floors.least[0] = 5.0
    z = normal(4, 8)
    kept = torch.tensor([1.0, 1.0, 0.5, 0.0])
    (lower, w), (upper, raised_w) = (
        Truncation(each, 0.5).latents(z, kept) for each in (plain, generator)
    )
    torch.testing.assert_close(upper[:, 0], torch.full((4,), 2.5), atol=0.01, rtol=0)
    assert upper[:, 1:].equal(lower[:, 1:])
    assert raised_w.equal(w)
    as_drawn = [Truncation(each, 1.0).latents(z, kept)[0] for each in (plain, generator)]
    assert as_drawn[0].equal(as_drawn[1])

    scene = painting.Scene(
        z_global=z,
        z_second=z,
        crossover=torch.zeros(4, dtype=torch.int64),
        truncation=0.5,
        psi=torch.tensor([[0.5], [1.0], [0.5], [1.0]]),
        z_local=z,
        c=z,
        noise=[],
        position=z[:, 0],
    )
    shown = painting.layouts_of(generator, scene)
    assert shown[[1, 3]].equal(z[[1, 3]])
    assert shown[[0, 2]].equal(Truncation(generator, 0.5).latents(z)[0][[0, 2]])
    assert painting.layouts_of(generator, dataclasses.replace(scene, truncation=1.0)).equal(z)


def test_a_model_gets_floors_against_streaks_from_its_own_frames(tmp_path: Path) -> None:
    model = truncated(random_model(SMALL))
    batches = list(look_at_levels(model, 24, 5, torch.float32))
    assert [tuple(batch.latents.shape) for batch in batches] == [(12, 8), (12, 8)]
    seen = joined(batches)
    floored = with_levels(model, seen)
    path = save_with_weights(tmp_path / "floored", floored, floored.generator.state_dict())
    loaded = load_model(path)
    assert loaded.recipe.generator.layout_floors == ("unlevel",)
    assert dict(describe_model(loaded)[1])["floors of layouts"].startswith("unlevel: ")
    floors = loaded.generator.layout_floors
    assert floors is not None
    torch.testing.assert_close(floors.reads.norm(), torch.tensor(1.0))
    layouts = Truncation(loaded.generator, 0.7).layout(normal(200, 8))
    assert (layouts @ floors.reads[0]).min() > LEAST - 0.01
    one, two = (Scene(each, seed=1).render(0, 0, 64, 64) for each in (model, loaded))
    assert (one != two).any()
    with pytest.raises(ModelError, match="layout_floors of unlevel already"):
        with_levels(loaded, seen)
    with pytest.raises(ModelError, match="not truncated"):
        next(look_at_levels(random_model(SMALL), 12, 5, torch.float32))
    other = with_more_floors(model, ["mud"], seen, [0.5], key="layout_floors")
    with pytest.raises(ModelError, match="layout_floors of mud, which that against level streaks"):
        next(look_at_levels(other, 12, 5, torch.float32))


def test_layouts_are_measured_under_other_styles(monkeypatch: pytest.MonkeyPatch) -> None:
    model = truncated(random_model(SMALL))
    styles = []
    real = painting.styles_of

    def watched(*arguments: object) -> Tensor:
        styles.append(real(*arguments))  # type: ignore[arg-type]
        return styles[-1]

    monkeypatch.setattr(painting, "styles_of", watched)
    z_global = next(look_at_levels(model, 12, 0, torch.float32)).latents
    own = Truncation(model.generator, 0.7).latents(z_global)[1]
    assert not torch.isclose(styles[0], own).all(dim=2).any()
