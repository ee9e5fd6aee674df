"""The detail ladder's step: its windows, its promise to keep the scene, its folded form."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from infinite_render.config import DetailConfig
from infinite_render.errors import RecipeError
from infinite_render.geometry import (
    Halve,
    Layer,
    Span,
    Window,
    detail_stage,
    spans_given,
    spans_needed,
    windows_given,
)
from infinite_render.nn.detail import (
    DetailStep,
    build_detail,
    fold_detail,
    run_folded,
)
from infinite_render.nn.scale import double, halve

SMALL = DetailConfig(low_dim=8, low_layers=2, up_dim=6, high_dim=4, zooms=3)


def random_step(config: DetailConfig, seed: int = 0) -> DetailStep:
    """A step none of whose parameters is at a neutral value."""
    torch.manual_seed(seed)
    step = build_detail(config)
    with torch.no_grad():
        for parameter in step.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return step.eval()


def cut(plane: Tensor, window: Window) -> Tensor:
    """A window of a plane whose (0, 0) is at [500, 500]."""
    return plane[(..., *window.within(Window(-500, -500, 1000, 1000)))]


@pytest.mark.parametrize("start", [-7, 0, 4])
@pytest.mark.parametrize("low_layers", [1, 2, 3])
def test_the_stage_and_the_network_agree_on_every_size(start: int, low_layers: int) -> None:
    config = DetailConfig(low_dim=4, low_layers=low_layers, up_dim=4, high_dim=4, zooms=1)
    step = random_step(config)
    for height, width in ((30, 41), (37, 30)):
        given = Window(start, start + 1, height, width)
        out = windows_given(detail_stage(low_layers), given)[-1]
        picture = step(torch.randn(1, 3, height, width), 0, torch.randn(1, 1, height, width))
        assert picture.shape == (1, 3, out.height, out.width)


def test_a_needed_span_suffices_and_nothing_of_it_is_idle() -> None:
    stage = detail_stage(3)
    for start in range(-6, 6):
        for size in (1, 2, 3, 16, 17):
            out = Span(start, start + size)
            need = spans_needed(stage, out)[0]
            assert spans_given(stage, need)[-1].holds(out)
            for less in (Span(need.start + 1, need.stop), Span(need.start, need.stop - 1)):
                assert not spans_given(stage, less)[-1].holds(out)


@pytest.mark.parametrize(
    ("given", "spans"),
    [
        (Span(0, 30), [30, 28, 26, 24, 45, 43, 18, 31]),
        (Span(-3, 40), [43, 41, 39, 37, 71, 69, 31, 57]),
    ],
)
def test_the_lattices_of_a_step(given: Span, spans: list[int]) -> None:
    chain = spans_given(detail_stage(3), given)
    assert [span.size for span in chain] == spans
    assert chain[-1] == Span(2 * given.start + 14, 2 * given.stop - 15)


@pytest.mark.parametrize("layer", detail_stage(1))
def test_every_layer_gives_what_was_needed(layer: Layer) -> None:
    for start, stop in pairwise(range(-9, 30, 3)):
        out = Span(start, stop)
        need = layer.needs(out)
        if isinstance(layer, Halve):
            assert need.start % 2 == 0
        assert layer.gives(need).holds(out)


def test_halving_undoes_doubling() -> None:
    x = torch.randn(2, 3, 20, 23, dtype=torch.float64)
    doubled = double(x)  # from pixel 2 of the fine lattice
    kept = halve(doubled)  # from pixel 3 of the coarse one
    torch.testing.assert_close(kept, x[:, :, 3:17, 3:20], rtol=0, atol=1e-12)


def test_pixel_q_is_pixel_2q_of_the_double() -> None:
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(30.0), indexing="ij")
    ramp = (0.3 * y - 0.2 * x)[None, None]
    assert torch.allclose(double(ramp)[:, :, ::2, ::2], ramp[:, :, 1:-1, 1:-1], atol=1e-4)
    assert torch.allclose(halve(ramp), ramp[:, :, 4:-4:2, 4:-4:2][:, :, :16, :11], atol=1e-4)


@pytest.mark.parametrize("zoom", [0, 2, 9])
def test_what_a_step_paints_halved_is_what_it_was_given(zoom: int) -> None:
    given = Window(0, 0, 40, 44)
    x = 2 * torch.randn(1, 3, 40, 44)
    picture = random_step(SMALL)(x, zoom, torch.randn(1, 1, 40, 44))
    out = windows_given(detail_stage(SMALL.low_layers), given)[-1]
    doubled = double(x)[(..., *out.within(Window(2, 2, 75, 83)))]
    assert (picture - doubled).abs().mean() > 0.05  # it did paint something
    kept = windows_given((Halve(),), out)[-1]
    torch.testing.assert_close(halve(picture), x[(..., *kept.within(given))], rtol=0, atol=1e-5)


def test_at_every_depth_the_picture_halved_is_the_one_above() -> None:
    step = random_step(SMALL)
    given = Window(0, 0, 40, 40)
    picture = 0.3 * torch.randn(1, 3, 40, 40)
    for depth in range(8):
        finer = step(picture, depth, torch.randn(1, 1, 40, 40))
        out = windows_given(detail_stage(SMALL.low_layers), given)[-1]
        kept = windows_given((Halve(),), out)[-1]
        largest = max(1.0, picture.abs().max().item())
        torch.testing.assert_close(
            halve(finer), picture[(..., *kept.within(given))], rtol=0, atol=1e-5 * largest
        )
        picture = finer[:, :, :40, :40]


def test_a_window_of_a_window_is_that_window() -> None:
    step = random_step(SMALL).double()
    stage = detail_stage(SMALL.low_layers)
    torch.manual_seed(1)
    rgb = torch.randn(1, 3, 1000, 1000, dtype=torch.float64)
    noise = torch.randn(1, 1, 1000, 1000, dtype=torch.float64)
    step.compute = torch.float64

    def paint(out: Window) -> Tensor:
        need = Window.of(spans_needed(stage, out.y_span)[0], spans_needed(stage, out.x_span)[0])
        given = windows_given(stage, need)[-1]
        picture: Tensor = step(cut(rgb, need), 1, cut(noise, need))
        return picture[(..., *out.within(given))]

    whole = Window(-21, -8, 60, 71)
    picture = paint(whole)
    for part in (Window(-21, -8, 1, 1), Window(-3, 5, 18, 21), Window(0, 0, 39, 63)):
        torch.testing.assert_close(
            paint(part), picture[(..., *part.within(whole))], rtol=0, atol=1e-6
        )


@pytest.mark.parametrize("zoom", [0, 1, 2, 8])
def test_the_folded_step_is_the_step(zoom: int) -> None:
    step = random_step(SMALL)
    x, noise = torch.randn(1, 3, 33, 38), torch.randn(1, 1, 33, 38)
    plain = step(x, zoom, noise)
    torch.testing.assert_close(run_folded(fold_detail(step, zoom), x, noise), plain)


def test_a_zoom_beyond_the_trained_ones_is_the_last() -> None:
    step = random_step(SMALL)
    x, noise = torch.randn(1, 3, 30, 30), torch.randn(1, 1, 30, 30)
    assert torch.equal(step(x, 2, noise), step(x, 7, noise))
    assert not torch.equal(step(x, 1, noise), step(x, 2, noise))


def test_each_picture_of_a_batch_has_its_own_zoom() -> None:
    step = random_step(SMALL)
    x, noise = torch.randn(2, 3, 30, 30), torch.randn(2, 1, 30, 30)
    both = step(x, torch.tensor([0, 2]), noise)
    one = step(x[1:], 2, noise[1:])
    torch.testing.assert_close(both[1:], one)


def test_the_noise_moves_the_detail_and_not_the_scene() -> None:
    step = random_step(SMALL)
    x = torch.randn(1, 3, 40, 40)
    one, other = (step(x, 1, torch.randn(1, 1, 40, 40)) for _ in range(2))
    assert (one - other).abs().mean() > 0.01
    torch.testing.assert_close(halve(one), halve(other), rtol=0, atol=1e-5)


def test_the_default_step_costs_at_most_twenty_thousand_macs_a_pixel() -> None:
    config = DetailConfig()
    step = build_detail(config)
    count = 0.0
    for layer in step.layers:
        at_low = layer is not step.layers[-1]  # an upsampling convolution works at the low lattice
        count += layer.weight.numel() / (4 if at_low else 1)  # type: ignore[operator]
    count += step.rgb_weight.numel()
    assert count <= 20_000


def test_a_size_of_zero_is_refused() -> None:
    with pytest.raises(RecipeError, match="must be positive"):
        DetailConfig(up_dim=0)
