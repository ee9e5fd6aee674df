"""Floors: what reads too low is moved up, along that measure and no other."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from small_models import SMALL, random_generator, random_model, truncated
from torch import Tensor

from infinite_render.config import FLOORS
from infinite_render.describe import describe_model
from infinite_render.errors import ModelError, RecipeError, UsageError
from infinite_render.fields.local import LAKES_DRY
from infinite_render.models import load_model, save_with_weights
from infinite_render.nn.floors import Floors
from infinite_render.nn.texture import COARSE
from infinite_render.nn.truncation import Truncation
from infinite_render.rendering.scene import Scene
from infinite_render.training import looking
from infinite_render.training.floors import Seen, fitted, joined, with_more_floors
from infinite_render.training.grounds import ground_of, look_at_grounds, with_grounds


def styles(count: int = 4000) -> Tensor:
    """Styles of 6 channels of unlike deviations, two of which go together."""
    w = torch.randn(count, 6, generator=torch.Generator().manual_seed(3))
    w = w * torch.tensor([1.0, 2, 0.5, 1, 3, 1]) + 0.7
    w[:, 5] += 0.8 * w[:, 0]
    return w


def measured(w: Tensor) -> Tensor:
    """Two measures, linear in w but for noise."""
    noise = torch.randn(len(w), 2, generator=torch.Generator().manual_seed(4))
    return torch.stack([w[:, 0] - w[:, 1], w[:, 2] + 0.5 * w[:, 3]], dim=1) + 0.1 * noise


def test_floors_read_what_was_measured_and_move_one_measure_alone() -> None:
    w = styles()
    found = fitted(Seen(w, measured(w)), [0.3])
    read = w @ found.reads.T
    torch.testing.assert_close(read.std(dim=0), torch.ones(2), atol=1e-4, rtol=0)
    for k in range(2):
        pair = torch.stack([read[:, k], measured(w)[:, k]])
        assert torch.corrcoef(pair)[0, 1] > 0.9
    torch.testing.assert_close(found.reads @ found.moves.T, torch.eye(2), atol=1e-5, rtol=0)
    below = (read < found.least).float().mean(dim=0)
    torch.testing.assert_close(below, torch.full((2,), 0.3), atol=0.01, rtol=0)


def test_styles_are_kept_up_to_their_floors_and_others_stay() -> None:
    w = styles()
    found = fitted(Seen(w, measured(w)), [0.3])
    before, after = (x @ found.reads.T - found.least for x in (w, found(w)))
    assert (after > -1e-4).all()
    for k in range(2):
        assert (after[before[:, k].argsort(), k].diff() > -1e-4).all()  # their order stays
    high = (before > 1.5).all(dim=1)
    assert high.any()
    assert (found(w) - w)[high].abs().max() < 0.01
    low = before[:, 0] < -1
    along = (found(w) - w)[low][:, 5]
    assert along.mean() > 0.1  # what goes with a measure goes along
    one, many = found(w[7]), found(w[None, 7:9].expand(3, -1, -1))
    torch.testing.assert_close(one, many[2, 0])


def test_further_floors_leave_the_readings_of_the_first_where_they_are() -> None:
    w = styles()
    first = fitted(Seen(w, measured(w)), [0.3])
    third = w[:, 3:4] + w[:, 4:5] - w[:, 1:2]
    both = fitted(Seen(w, third), [0.7], [first])
    assert both.reads[:2].equal(first.reads)
    assert both.least[:2].equal(first.least)
    torch.testing.assert_close(both.reads @ both.moves.T, torch.eye(3), atol=1e-5, rtol=0)
    low = w[(w @ both.reads.T - both.least)[:, :2].amin(dim=1) > 2]  # none of the first is short
    assert len(low) > 20
    moved = (both(low) - low) @ both.reads.T
    assert moved[:, 2].max() > 0.5
    assert moved[:, :2].abs().max() < 0.01


def test_without_weights_of_their_own_floors_change_nothing() -> None:
    w = styles(5)
    assert Floors(2, 6)(w).equal(w)


def test_truncation_keeps_styles_up_and_one_leaves_them() -> None:
    config = dataclasses.replace(SMALL, floors=("light",))
    generator, plain = random_generator(config), random_generator(SMALL)
    assert generator.floors is not None
    generator.floors.reads[0, 0] = generator.floors.moves[0, 0] = 1.0
    generator.floors.least[0] = 5.0
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    lower, upper = (Truncation(each, 0.5).latents(z)[1] for each in (plain, generator))
    assert lower[..., 0].max() < 4
    torch.testing.assert_close(
        upper[..., 0], torch.full_like(upper[..., 0], 5.0), atol=1e-2, rtol=0
    )
    assert upper[..., 1:].equal(lower[..., 1:])
    kept = torch.tensor([1.0, 0.5, 0.0])
    as_drawn = [Truncation(each, 1.0).latents(z, kept)[1] for each in (plain, generator)]
    assert as_drawn[0].equal(as_drawn[1])


def test_coarse_styles_get_floors_on_top_of_those_of_all() -> None:
    model, w = truncated(random_model(SMALL)), styles(60)[:, :1].expand(-1, 8).clone()
    w += torch.randn(60, 8, generator=torch.Generator().manual_seed(5))
    light, form, edge = w[:, :1], w[:, 2:3] + w[:, 3:4], w[:, 5:6]
    one = with_more_floors(model, ["light"], Seen(w, light), [0.8])
    two = with_more_floors(one, ["form"], Seen(w, form), [0.8], key="coarse_floors")
    three = with_more_floors(two, ["edge"], Seen(w, edge), [0.8], key="coarse_floors")
    assert three.recipe.generator.floors == ("light",)
    assert three.recipe.generator.coarse_floors == ("form", "edge")
    first, floors, of_coarse = (
        one.generator.floors,
        three.generator.floors,
        three.generator.coarse_floors,
    )
    assert first is not None
    assert floors is not None
    assert of_coarse is not None
    assert all(a.equal(b) for a, b in zip(first.buffers(), floors.buffers(), strict=True))
    torch.testing.assert_close(
        of_coarse.moves @ first.reads.T, torch.zeros(2, 1), atol=1e-5, rtol=0
    )
    z_global = torch.randn(20, 8, generator=torch.Generator().manual_seed(6))
    lower, upper = (Truncation(each.generator, 0.7).latents(z_global)[1] for each in (one, three))
    assert upper[:, COARSE:].equal(lower[:, COARSE:])
    assert (upper[:, :COARSE] @ of_coarse.reads.T - of_coarse.least > -1e-4).all()
    assert not torch.allclose(upper[:, :COARSE], lower[:, :COARSE], atol=0.01)
    told = dict(describe_model(three)[1])
    assert told["floors of coarse styles"].startswith("form, edge: ")
    with pytest.raises(ModelError, match="coarse styles, which those of all come before"):
        with_more_floors(two, ["tone"], Seen(w, form), [0.8])
    with pytest.raises(ModelError, match="coarse_floors of form already"):
        with_more_floors(two, ["form"], Seen(w, form), [0.8], key="coarse_floors")


def test_the_ground_is_told_by_its_light_and_detail() -> None:
    frames = torch.full((4, 3, 100, 40), -1.0)
    frames[1, :, 70:] = 0.0  # light, and even
    frames[2, :, 70:, ::2] = 0.0  # striped, half as light
    frames[3, :, :70] = 1.0  # only its sky is light
    light, detail = ground_of(frames).T
    expected = torch.tensor([0.02, 0.52, 0.27, 0.02]).log()
    torch.testing.assert_close(light, expected, atol=0.02, rtol=0)
    assert detail[2] > detail[0] + 4
    assert detail[0] == detail[1] == detail[3]


def test_a_model_gets_floors_from_its_own_frames(tmp_path: Path) -> None:
    model = truncated(random_model(SMALL))
    batches = list(look_at_grounds(model, 24, 5, torch.float32))
    assert [len(batch.latents) for batch in batches] == [12, 12]
    again = next(look_at_grounds(model, 12, 5, torch.float32))
    assert again.latents.equal(batches[0].latents)
    assert again.measures.equal(batches[0].measures)
    seen = joined(batches)
    floored = with_grounds(model, seen)
    path = save_with_weights(tmp_path / "floored", floored, floored.generator.state_dict())
    loaded = load_model(path)
    assert loaded.recipe.generator.floors == ("light", "detail")
    assert loaded.generator.floors is not None
    assert loaded.generator.floors.reads.any()
    assert dict(describe_model(loaded)[1])["floors of styles"].startswith("light, detail: ")
    one, other = (Scene(each, seed=1).render(0, 0, 64, 64) for each in (model, loaded))
    assert (one != other).any()
    with pytest.raises(ModelError, match="floors of light, detail already"):
        with_grounds(loaded, seen)
    with pytest.raises(ModelError, match="floors of light, detail already"):
        next(look_at_grounds(loaded, 12, 5, torch.float32))
    with pytest.raises(ModelError, match="not truncated"):
        next(look_at_grounds(random_model(SMALL), 12, 5, torch.float32))


def test_frames_that_tell_of_floors_have_no_lakes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    wet = truncated(random_model(dataclasses.replace(SMALL, shore=0.4)))
    real = looking.paint

    def watched(*arguments: object) -> object:
        seen.append(arguments[1].z_local)  # type: ignore[attr-defined]
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(looking, "paint", watched)
    next(look_at_grounds(wet, 12, 0, torch.float32))
    assert seen[0].shape[1] == wet.recipe.generator.latent_dim
    assert (seen[0][:, -1] == LAKES_DRY).all()
    assert (seen[0][:, :-1].std(dim=(1, 2, 3)) > 0).all()


def test_of_measures_all_alike_no_floor_is_made() -> None:
    model = truncated(random_model(SMALL))
    alike = Seen(styles(50)[:, :1].expand(-1, 8), torch.ones(50, 1))
    with pytest.raises(ModelError, match="the same in all 50 pictures"):
        with_more_floors(model, ["level"], alike, [0.5])
    with pytest.raises(UsageError, match="share = 80 of all latents must be"):
        with_more_floors(model, ["level"], alike, [80])


@pytest.mark.parametrize("names", [tuple("abcdefghi"), ("light", "light")])
def test_there_are_no_more_floors_than_channels_and_each_once(names: tuple[str, ...]) -> None:
    for key in FLOORS:
        with pytest.raises(RecipeError, match=f"{key} .* must name each floor once"):
            dataclasses.replace(SMALL, **{key: names})
