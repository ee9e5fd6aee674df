"""Inversion: the latents that repaint a photograph, found, kept in distribution, and repeatable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import SMALL, SMALL_DETAIL, random_model
from torch import Tensor

from infinite_render.config import GeneratorConfig, ModelRecipe
from infinite_render.errors import ModelError, UsageError
from infinite_render.fields.local import LocalLaw
from infinite_render.fields.pins import Pin, load_pin, save_pin
from infinite_render.geometry import Window
from infinite_render.inversion import eyes, losses
from infinite_render.inversion.base import (
    choose_depth,
    horizon_shift,
    spans_band,
    to_base,
)
from infinite_render.inversion.eyes import guess_shift, open_eyes
from infinite_render.inversion.invert import InversionProgress, invert
from infinite_render.inversion.latents import Latents, Painter, random_latents, windows_of
from infinite_render.inversion.search import reach_of
from infinite_render.models import Model
from infinite_render.nn import coordinates
from infinite_render.nn.scale import double
from infinite_render.pixels import Pixels
from infinite_render.rendering.scene import Scene
from infinite_render.training.critics import build_critic, save_critic
from infinite_render.training.events import Notice
from infinite_render.training.recipes import CriticConfig


@pytest.fixture
def without_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the optional package is not installed."""

    def absent(dtype: torch.dtype) -> None:
        raise UsageError("EfficientNet-Lite0 is not installed")

    monkeypatch.setattr(eyes, "load_features", absent)


@pytest.fixture
def photograph() -> Pixels:
    """A picture that the small model can paint, from latents that the inversion does not know."""
    return Scene(random_model(), seed=5, precision="float32").render(10, -20, 40, 50)


def run(
    model: Model, photograph: Pixels, **arguments: object
) -> tuple[list[InversionProgress], Pin]:
    *events, pin = invert(
        model,
        photograph,
        precision="float32",
        **{"steps": 30, **arguments},  # type: ignore[arg-type]
    )
    assert isinstance(pin, Pin)
    return [event for event in events if isinstance(event, InversionProgress)], pin


@pytest.mark.usefixtures("without_features")
def test_an_inversion_repaints_the_photograph(photograph: Pixels, tmp_path: Path) -> None:
    reports, pin = run(random_model(), photograph, steps=90, interval=30, place_px=(10, -20))
    assert [report.step for report in reports] == [30, 60, 90]
    assert reports[-1].psnr_db > reports[0].psnr_db + 2
    assert reports[-1].psnr_db > 20
    assert reports[-1].pin.digest == pin.digest
    assert reports[-1].preview.shape == photograph.shape
    error = np.square(reports[-1].preview.astype(float) - photograph).mean()
    assert abs(10 * np.log10(255**2 / error) - reports[-1].psnr_db) < 0.3

    assert pin.window_px == Window(10, -20, 40, 50)
    assert pin.styles.shape == (SMALL.styles, SMALL.global_dim)
    assert pin.z_window == windows_of(SMALL, pin.window_px).latents
    save_pin(tmp_path / "a.pin", pin)
    assert load_pin(tmp_path / "a.pin").digest == pin.digest


@pytest.mark.usefixtures("without_features")
def test_the_same_arguments_find_the_same_pin(photograph: Pixels) -> None:
    def digest(**arguments: object) -> str:
        return run(random_model(), photograph, **arguments)[1].digest

    first = digest()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert (
            digest(interval=7) == first
        )  # however often it reports, whatever the caller's threads
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert digest(seed=1) != first
    assert digest(steps=31) != first


@pytest.mark.usefixtures("without_features")
def test_whoever_stops_early_has_the_pin_so_far(photograph: Pixels) -> None:
    events = invert(random_model(), photograph, steps=10_000, interval=3, precision="float32")
    assert isinstance(events, Iterator)
    progress = next(event for event in events if isinstance(event, InversionProgress))
    assert progress.step == 3
    assert progress.pin.z_local.shape[1:] == tuple(progress.pin.z_window[2:])
    events.close()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("without_features")
@pytest.mark.parametrize("reports", [1, 4])  # while it looks for a style; in the descent
def test_a_stopped_inversion_goes_on_to_the_same_pin(
    photograph: Pixels, tmp_path: Path, reports: int
) -> None:
    model, kept = random_model(), tmp_path / "kept"
    whole, pin = run(model, photograph, interval=3)
    events = invert(model, photograph, steps=30, interval=3, precision="float32", kept=kept)
    seen = 0
    while seen < reports:
        seen += isinstance(next(events), InversionProgress)
    events.close()  # type: ignore[attr-defined]

    rest, found = run(model, photograph, interval=3, kept=kept)
    assert [report.step for report in rest] == [report.step for report in whole[reports:]]
    assert [report.loss for report in rest] == [report.loss for report in whole[reports:]]
    assert found.digest == pin.digest
    again, found = run(model, photograph, interval=3, kept=kept)  # the file of one that has ended
    assert ([report.step for report in again], found.digest) == ([30], pin.digest)


@pytest.mark.usefixtures("without_features")
def test_a_file_of_another_inversion_is_told_and_replaced(
    photograph: Pixels, tmp_path: Path
) -> None:
    model, kept = random_model(), tmp_path / "kept"
    run(model, photograph, steps=4, kept=kept)

    def told(**arguments: object) -> list[str]:
        events = invert(model, photograph, precision="float32", kept=kept, **arguments)  # type: ignore[arg-type]
        return [event.text for event in events if isinstance(event, Notice)]

    assert "resumed at step 4 of 4" in told(steps=4)
    assert f"{kept} is of another inversion; the inversion begins anew" in told(steps=5)
    assert any("another inversion" in text for text in told(steps=5, time_limit_s=99.0))
    assert any("another inversion" in text for text in told(steps=5, seed=1))
    assert any("another inversion" in text for text in told(steps=5, horizon_px=7.0))
    kept.write_bytes(kept.read_bytes()[:1000])
    assert any(f"{kept} is damaged" in text for text in told(steps=2))
    assert "resumed at step 2 of 2" in told(steps=2)


@pytest.mark.usefixtures("without_features")
def test_a_time_limit_ends_the_descent(photograph: Pixels) -> None:
    reports, _ = run(random_model(), photograph, steps=10**9, interval=1, time_limit_s=0.5)
    assert 1 <= reports[-1].step < 10**6


def test_what_is_missing_is_said_in_one_line(photograph: Pixels, without_features: None) -> None:
    events = list(invert(random_model(), photograph, steps=1))
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert [("EfficientNet" in text, "discriminator" in text) for text in notices] == [
        (True, False),
        (False, True),
    ]
    assert not any("\n" in text for text in notices)


def test_features_take_part_where_they_are_installed(photograph: Pixels) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    assert open_eyes(Path("nowhere"), torch.float32).features is not None
    reports, pin = run(random_model(), photograph, steps=40, interval=20)
    assert reports[-1].loss < reports[0].loss
    assert np.isfinite(pin.z_local).all()


@pytest.mark.usefixtures("without_features")
def test_a_pin_of_the_ladder_lies_at_the_depth_of_its_pixels() -> None:
    model = random_model(detail=SMALL_DETAIL)
    fine = Scene(model, seed=3, precision="float32").render(7, 5, 90, 81, depth=1)
    _, pin = run(model, fine, place_px=(7, 5), depth=1, steps=3)
    assert (pin.depth, pin.cell_px, pin.size_px) == (1, 16, (90, 81))
    assert pin.z_window == windows_of(SMALL, Window(3, 2, 46, 41)).latents


def test_painting_in_pieces_is_painting_the_whole() -> None:
    model, whole = random_model(), Window(-5, 9, 40, 60)
    windows = windows_of(SMALL, whole)
    painter = Painter(model.generator, SMALL, windows, (1.5, 4.0), torch.float32)
    latents = random_latents(SMALL, windows, torch.Generator().manual_seed(0))
    rgb = painter.paint(latents, whole)
    for part in (Window(-5, 9, 13, 21), Window(8, 30, 27, 39), Window(34, 68, 1, 1)):
        expected = rgb[:, *part.within(whole)]
        torch.testing.assert_close(painter.paint(latents, part), expected, rtol=1e-4, atol=1e-5)


def test_the_painter_paints_what_the_renderer_does() -> None:
    """Only the folded weights differ, by rounding."""
    model, window = random_model(), Window(3, 4, 30, 35)
    scene = Scene(model, seed=9, precision="float32")
    windows = windows_of(SMALL, window)

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values)

    latents = Latents(
        tensor(scene.latents.z_global(SMALL.global_dim)),
        torch.zeros(SMALL.styles, SMALL.global_dim),
        tensor(scene.latents.z_local(windows.latents, SMALL.local_dim, LocalLaw.of(SMALL))),
        [tensor(scene.latents.texture_noise(i, w)) for i, w in enumerate(windows.noise)],
    )
    painter = Painter(model.generator, SMALL, windows, (0.0, 0.0), torch.float32)
    rgb = painter.paint(latents, window).clamp(-1, 1).permute(1, 2, 0).numpy()
    assert np.abs((rgb + 1) * 127.5 - scene.render(*window)).max() < 0.51


@pytest.mark.parametrize("place", [(0, 0), (-8, 12), (5, -3)])
def test_the_base_picture_is_the_ladder_s_own_low_pass(place: tuple[int, int]) -> None:
    """What is doubled twice and cut out anywhere comes back, within a grey level."""
    small = torch.rand(1, 3, 40, 44, generator=torch.Generator().manual_seed(1)) * 1.2 - 0.6
    fine = double(double(small))[0]
    # double: the first pixel made is the double of the window's second; small begins at -7.
    first = 2 * (2 * (-7 + 1) + 1)
    pixels = ((fine + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    height, width = 70, 83
    rows, columns = (
        slice(p - first, p - first + n) for p, n in zip(place, (height, width), strict=True)
    )
    cut = pixels[rows, columns]
    assert cut.shape == (height, width, 3)

    base, window = to_base(cut, place, 2)
    assert window.y_span == (place[0] // 4, -(-(place[0] + height) // 4))
    inner = Window(window.y + 4, window.x + 4, window.height - 8, window.width - 8)
    expected = small[0, :, *inner.within(Window(-7, -7, 40, 44))]
    assert (base[:, *inner.within(window)] - expected).abs().max() < 3 / 127.5


def test_the_depth_brings_a_photograph_near_the_trained_band() -> None:
    ladder = ModelRecipe(detail=SMALL_DETAIL)  # a band of 101 px
    depths = [choose_depth(ladder, height) for height in (20, 101, 150, 683, 1024, 10**9)]
    assert depths == [0, 0, 1, 3, 3, 8]
    assert choose_depth(ModelRecipe(), 683) == 0


def test_the_horizon_comes_to_lie_in_the_middle_of_the_plane() -> None:
    config = GeneratorConfig()
    shift = horizon_shift(config, 72.0)  # a base row on which cell 9 stands
    span = config.patch_cells + config.start_rows - 1
    grid = coordinates.window_grid(
        Window(9, 0, 1, 1),
        cut=config.cut,
        span_cells=span,
        period_cells=config.period_cells,
        shift_cell=(shift, 0.0),
    )
    assert float(grid[0, 0, 0, 0]) == pytest.approx(0, abs=1e-6)
    first_px, stop_px = config.band_px
    assert spans_band(config, Window(first_px, 3, stop_px - first_px, 50)) == 0
    assert spans_band(config, Window(first_px + 16, 3, stop_px - first_px, 50)) == -2


@pytest.mark.usefixtures("without_features")
def test_a_given_horizon_or_shift_is_kept(photograph: Pixels) -> None:
    _, pin = run(random_model(), photograph, steps=1, horizon_px=12.0, place_px=(4, 0))
    assert pin.shift_cell[0] == horizon_shift(SMALL, 16.0)
    _, pin = run(random_model(), photograph, steps=1, shift_cell=(1.25, -3.5))
    assert pin.shift_cell == (1.25, -3.5)


class Reader:
    """A discriminator that reads the row of a patch from its brightness."""

    def prepare(self, patches: Tensor) -> tuple[Tensor, ...]:
        return (patches,)

    def __call__(self, prepared: tuple[Tensor, ...]) -> tuple[list[Tensor], Tensor]:
        return [], prepared[0][:, :, 0].mean(dim=(1, 2))


def test_the_vertical_place_is_what_the_discriminator_sees() -> None:
    config, base = GeneratorConfig(), Window(200, 0, 85, 130)
    rows = torch.arange(base.height) / config.stride + 1.5  # of the band, at each row of pixels
    target = (rows / (config.start_rows - 1) * 2 - 1)[None, :, None].expand(3, -1, base.width)
    shift = guess_shift(Reader(), config, target, base)  # type: ignore[arg-type]
    assert shift == pytest.approx(1.5 - (base.y - config.band_px[0]) / config.stride, abs=1e-5)
    # Nonsense is held to where photograph and band overlap; nothing to see is the middle.
    absurd = guess_shift(Reader(), config, target + 50, base)  # type: ignore[arg-type]
    assert absurd == spans_band(config, base) + 3
    assert guess_shift(None, config, target, base) == spans_band(config, base)
    small = Window(200, 0, 40, 130)
    assert guess_shift(Reader(), config, target[:, :40], small) == spans_band(config, small)  # type: ignore[arg-type]


@pytest.mark.usefixtures("without_features")
def test_the_discriminator_beside_a_model_is_found(tmp_path: Path) -> None:
    config = CriticConfig(kind="residual", dims=(4, 4, 4, 4, 4))
    critic = build_critic(config, SMALL.patch_px)
    save_critic(tmp_path, critic, config, SMALL.patch_px)
    found = open_eyes(tmp_path, torch.float32)
    assert found.critic is not None
    target = torch.rand(3, 60, 70, generator=torch.Generator().manual_seed(0)) * 2 - 1
    shift = guess_shift(found.critic, SMALL, target, Window(0, 0, 60, 70))
    assert abs(shift - spans_band(SMALL, Window(0, 0, 60, 70))) <= 3


def test_the_priors_are_about_zero_on_what_a_seed_draws() -> None:
    numbers = torch.Generator().manual_seed(0)
    drawn = torch.randn(32, 32, 40, generator=numbers)
    rest = losses.local_prior(drawn)
    assert rest < 0.3
    smooth = torch.nn.functional.avg_pool2d(drawn[None], 3, 1, 1)[0] * 3
    for unlike in (0.5 * drawn, 1.5 * drawn, drawn + 0.7, smooth, drawn * (drawn[:, :1] > 0)):
        assert losses.local_prior(unlike) > rest + 0.2
    noise = [torch.randn(90, 130, generator=numbers)]
    assert losses.noise_prior(noise) < 0.1
    assert losses.noise_prior([noise[0] * 2]) > 1
    assert losses.global_prior(torch.randn(128, generator=numbers)) < 0.1


def test_likeness_is_zero_for_the_same_picture_alone() -> None:
    rgb = torch.rand(3, 30, 44, generator=torch.Generator().manual_seed(0))
    assert losses.pixels(rgb, rgb) == 0
    assert losses.pixels(rgb + 0.5, rgb) == pytest.approx(0.5)
    assert losses.rows_distance(rgb, rgb.flip(2)) < 1e-5  # the same rows, turned round
    assert losses.rows_distance(rgb, rgb.flip(1)) > 0.01
    assert losses.overshoot(2 * rgb - 1) == 0
    assert losses.overshoot(3 * rgb) > 0


def test_latents_move_where_the_photograph_sees_them() -> None:
    base = Window(0, 0, 40, 50)
    windows = windows_of(SMALL, base)
    painter = Painter(random_model().generator, SMALL, windows, (0.0, 0.0), torch.float32)
    reach = reach_of(painter, base)
    assert reach.shape == tuple(windows.latents[2:])
    rows, columns = windows.cells.within(windows.latents)
    assert (reach[rows, columns] == 1).all()
    assert 0 < float(reach[0, 0]) < 0.5
    assert torch.equal(reach, reach.flip(0))
    assert torch.equal(reach, reach.flip(1))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"steps": 0}, "0 steps"),
        ({"interval": 0}, "every 0"),
        ({"time_limit_s": 0.0}, "time limit"),
        ({"depth": 1}, "ladder"),
        ({"photograph": np.zeros((7, 90, 3), np.uint8)}, "too small"),
        ({"photograph": np.zeros((90, 90), np.uint8)}, "uint8 [height, width, 3]"),
        ({"photograph": np.zeros((90, 90, 3), np.float32)}, "float32"),
    ],
)
def test_what_cannot_be_inverted_is_said_in_one_line(
    arguments: dict[str, object], said: str
) -> None:
    given = {"photograph": np.zeros((40, 40, 3), np.uint8), **arguments}
    with pytest.raises(UsageError) as caught:
        next(invert(random_model(), **given))  # type: ignore[arg-type]
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_never_rendered_is_refused() -> None:
    model = random_model()
    padded = replace(model.recipe.generator, padding=True)
    model = replace(model, recipe=replace(model.recipe, generator=padded))
    with pytest.raises(ModelError, match="pads its texture"):
        next(invert(model, np.zeros((40, 40, 3), np.uint8)))
