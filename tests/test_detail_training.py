"""Training the detail ladder: its pairs, its terms, and runs that are safe to stop."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch
from click.testing import CliRunner

from infinite_render.cli.train_detail import train_detail as train_detail_command
from infinite_render.config import DetailConfig, GeneratorConfig, ModelRecipe, format_toml
from infinite_render.errors import DataError, RecipeError
from infinite_render.models import load_model, save_model
from infinite_render.nn.detail_critic import DetailCritic, polyphase
from infinite_render.nn.generator import build_generator
from infinite_render.nn.scale import double, halve
from infinite_render.training import events
from infinite_render.training.data import list_photographs
from infinite_render.training.detail import install_detail, train_detail
from infinite_render.training.detail_data import (
    DetailPhotographs,
    cache_levels,
    halved,
    levels_path,
    read_levels,
)
from infinite_render.training.detail_recipe import DetailRecipe
from infinite_render.training.detail_steps import build_detail_state, crps, middle
from infinite_render.training.own import OwnPictures

TINY = DetailRecipe(
    detail=DetailConfig(low_dim=4, low_layers=1, up_dim=4, high_dim=4, zooms=2),
    base_px=(60, 64),
    given_px=36,
    batch=2,
    images=8,
    interval_images=4,
    plain_images=2,
    ramp_images=4,
    features=False,
    unroll_every=2,
    precision="float32",
)
BASE = GeneratorConfig(
    global_dim=4,
    local_dim=3,
    structure_dim=4,
    structure_layers=1,
    structure_radius=1,
    texture_dims=(4, 4, 4),
    mapping_layers=1,
    start_rows=2,
    period_cells=12,
)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of smooth noise, one of them half as tall."""
    folder = tmp_path_factory.mktemp("photographs")
    numbers = np.random.default_rng(0)
    for index, (height, width) in enumerate([(280, 300), (260, 330), (140, 200)]):
        noise = numbers.integers(0, 256, (height, width, 3), np.uint8)
        image = pyvips.Image.new_from_array(noise).gaussblur(1.5)
        image.write_to_file(str(folder / f"{index}.png"))
    return folder


def run(photographs: Path, recipe: DetailRecipe, out: Path, stop_after: int = 99) -> list[str]:
    """Train; returns the kinds of events in order."""
    asked = itertools.count(1)
    happened = train_detail(photographs, recipe, out, should_stop=lambda: next(asked) >= stop_after)
    return [type(event).__name__ for event in happened]


def test_a_photograph_is_halved_in_place() -> None:
    ramp = np.add.outer(np.arange(41) * 2, np.arange(50) * 3).astype(np.uint8)
    half = halved(np.repeat(ramp[:, :, None], 3, axis=2))
    assert half.shape == (21, 25, 3)
    assert np.array_equal(half[3:-3, 3:-3], np.repeat(ramp[6:-6:2, 6:-6:2, None], 3, axis=2))


def test_levels_reach_as_far_as_the_photograph_is_tall(photographs: Path) -> None:
    counts = []
    for name in ("0.png", "1.png", "2.png"):
        levels = read_levels(photographs / name, (60, 64), 2, 79)
        assert not isinstance(levels, str)
        assert 60 <= levels[0].shape[0] <= 64
        for coarse, fine in itertools.pairwise(levels):
            assert np.array_equal(coarse, halved(fine))
        counts.append(len(levels))
    assert counts == [3, 3, 2]


def test_pairs_follow_from_seed_and_images_alone(photographs: Path, tmp_path: Path) -> None:
    listing = list_photographs(photographs)
    path = levels_path(tmp_path, listing, (60, 64), 2, 79)
    list(cache_levels(photographs, listing, path, (60, 64), 2, 79))
    drawn = DetailPhotographs(path, 79, 2).pairs(3, 16, 12)
    again = DetailPhotographs(path, 79, 2).pairs(3, 16, 12)
    assert np.array_equal(drawn.pixels, again.pixels)
    assert np.array_equal(drawn.zoom, again.zoom)
    assert set(drawn.zoom) == {0, 1}
    other = DetailPhotographs(path, 79, 2).pairs(3, 28, 12)
    assert not np.array_equal(drawn.pixels, other.pixels)


def test_photographs_too_small_are_named(photographs: Path, tmp_path: Path) -> None:
    listing = list_photographs(photographs)
    path = levels_path(tmp_path, listing, (120, 125), 2, 79)
    told = list(cache_levels(photographs, listing, path, (120, 125), 2, 79))
    notices = [event.text for event in told if isinstance(event, events.Notice)]
    assert notices == [
        "left out 2.png: too small: needs 240 px of height and 79 px of width",
        "1 of 3 images left out",
    ]
    with pytest.raises(DataError, match=r"none of the 3 images .* too small"):
        list(cache_levels(photographs, listing, tmp_path / "none.bin", (900, 900), 2, 79))


def test_what_is_painted_lies_on_its_photograph() -> None:
    recipe = TINY
    patch = torch.randn(1, 3, recipe.patch_px, recipe.patch_px)
    given = halve(patch)
    assert given.shape[2] == recipe.given_px
    state = build_detail_state(recipe, torch.device("cpu"))
    painted = state.generator(given, 0, torch.randn_like(given[:, :1]))
    start, size = recipe.painted_from_px, recipe.painted_px
    assert painted.shape[2] == size
    real = patch[:, :, start : start + size, start : start + size]
    # Both keep the same low-pass, pixel by pixel.
    torch.testing.assert_close(halve(painted), halve(real), rtol=0, atol=1e-4)
    plain = middle(double(given), size)
    torch.testing.assert_close(halve(plain), halve(real), rtol=0, atol=1e-4)


def test_the_score_of_two_draws_by_hand() -> None:
    x, again, y = torch.tensor([0.0, 1.0]), torch.tensor([2.0, 1.0]), torch.tensor([1.0, 3.0])
    assert crps(x, again, y).item() == pytest.approx((0.0 + 2.0) / 2)
    assert crps(x, again, y, 0.5).item() == pytest.approx((0.5 + 2.0) / 2)


def test_the_score_is_least_where_the_spread_is_true() -> None:
    torch.manual_seed(0)
    y = torch.randn(200_000)
    scores = [
        crps(spread * torch.randn_like(y), spread * torch.randn_like(y), y).item()
        for spread in (0.0, 0.5, 1.0, 1.5)
    ]
    assert scores.index(min(scores)) == 2


def test_the_critic_reads_a_grid_of_period_two_as_a_difference_of_channels() -> None:
    rows, columns = torch.arange(49)[:, None], torch.arange(49)[None, :]
    grid = torch.where((rows + columns) % 2 == 0, 0.1, -0.1).expand(1, 3, 49, 49).contiguous()
    seen = polyphase(grid)
    assert seen.shape == (1, 24, 18, 18)
    assert halve(grid).abs().max() < 1e-5  # what a low-pass loss sees of it
    by_channel = seen.mean(dim=(0, 2, 3))
    assert (by_channel.max() - by_channel.min()) > 1.5


def test_gradients_reach_the_patch_through_every_head() -> None:
    critic = DetailCritic(2, features=None)
    rgb = torch.randn(2, 3, 61, 61, requires_grad=True)
    (logits,) = critic(critic.prepare(rgb, torch.tensor([0, 1])))
    (gradient,) = torch.autograd.grad(logits.sum(), rgb)
    assert gradient.isfinite().all()
    assert (gradient != 0).any(dim=(1, 2, 3)).all()


def test_a_resumed_run_is_the_run_that_was_never_interrupted(
    photographs: Path, tmp_path: Path
) -> None:
    whole = run(photographs, TINY, tmp_path / "whole")
    assert whole[-1] == "Finished"
    assert run(photographs, TINY, tmp_path / "cut", stop_after=3)[-1] == "Stopped"
    again = run(photographs, TINY, tmp_path / "cut")
    assert again[-1] == "Finished"
    contents = [(tmp_path / name / "detail.safetensors").read_bytes() for name in ("whole", "cut")]
    assert contents[0] == contents[1]
    assert len(list((tmp_path / "whole" / "sheets").glob("*.png"))) == 2


def test_another_recipe_is_refused_with_the_difference(photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(photographs, TINY, out, stop_after=1)
    other = DetailRecipe(**{**TINY.__dict__, "crps": 1.0})
    with pytest.raises(RecipeError, match=r"crps was 4.0, now 1.0"):
        run(photographs, other, out)


def test_the_ladder_learns_on_a_base_models_pictures_and_joins_it(
    photographs: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = tmp_path / "model"
    save_model(model, ModelRecipe(generator=BASE), build_generator(BASE).state_dict())
    base = load_model(model)
    own = OwnPictures(base, 0, torch.device("cpu"))
    patches = own.batch(0, 8, 3, 36)
    assert patches.shape == (3, 3, 36, 36)
    assert torch.equal(patches, own.batch(0, 8, 3, 36))

    out = tmp_path / "run"
    list(train_detail(photographs, TINY, out, base=base))
    install_detail(out, str(model))
    joined = load_model(model)
    assert joined.detail is not None
    assert joined.recipe.detail == TINY.detail
    assert joined.digest != base.digest


def test_the_command_trains_a_ladder_and_puts_it_into_the_model(
    photographs: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model, out, recipe = tmp_path / "model", tmp_path / "run", tmp_path / "tiny.toml"
    save_model(model, ModelRecipe(generator=BASE), build_generator(BASE).state_dict())
    recipe.write_text(format_toml(TINY), "utf-8")
    given = [photographs, "--model", model, "--out", out, "--recipe", recipe, "--images", 2]
    result = CliRunner().invoke(train_detail_command, [str(word) for word in given])
    assert result.exit_code == 0, result.output
    assert "its ladder was shown 2 patches" in result.output
    assert load_model(model).detail is not None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch": 3}, "batch = 3 must be even"),
        ({"given_px": 30}, "the critic needs"),
        ({"base_px": (100, 90)}, "must be two heights"),
        ({"images": 0}, "1 or more"),
        ({"spread": 1.5}, "must be in"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        DetailRecipe(**values)  # type: ignore[arg-type]
