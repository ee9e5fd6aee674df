"""The coordinate grid: the paper's formulas, and exact at any distance from the origin."""

from __future__ import annotations

import math

import pytest
import torch

from infinite_render.geometry import Window
from infinite_render.nn.coordinates import horizontal, stack, vertical, window_grid

CUT, SPAN, PERIOD = 3.0, 20, 139  # the paper's: n = 11, V = 10, T = 139


def grid(y: int, x: int, height: int, width: int, period: int = PERIOD) -> torch.Tensor:
    return window_grid(Window(y, x, height, width), cut=CUT, span_cells=SPAN, period_cells=period)


@pytest.mark.parametrize(("y", "x"), [(0, 0), (-5, -7), (3, 138), (19, -140)])
def test_the_grid_is_the_formula(y: int, x: int) -> None:
    c = grid(y, x, 4, 5)
    assert c.shape == (1, 3, 4, 5)
    assert c.dtype == torch.float32
    for i in range(4):
        for j in range(5):
            v = CUT * (2 * (y + i) / SPAN - 1)
            u = math.pi * (2 * (x + j) / PERIOD - 1)
            expected = [math.tanh(v), math.cos(u), math.sin(u)]
            assert c[0, :, i, j].tolist() == pytest.approx(expected, abs=1e-6)


def test_row_zero_is_where_v_is_minus_cut_and_the_band_ends_at_plus_cut() -> None:
    tanh_v = grid(0, 0, SPAN + 1, 1)[0, 0, :, 0]
    assert tanh_v[0].item() == pytest.approx(math.tanh(-CUT), abs=1e-7)
    assert tanh_v[SPAN // 2].item() == 0
    assert tanh_v[SPAN].item() == pytest.approx(math.tanh(CUT), abs=1e-7)


@pytest.mark.parametrize("period", [1, 2, 7, 108, 139, 1000])
@pytest.mark.parametrize("x", [10**12, -(10**12), 2**40, -(2**40), 2**40 - 13, -1])
def test_a_far_column_is_its_remainder_bit_for_bit(x: int, period: int) -> None:
    assert torch.equal(grid(0, x, 3, 24, period), grid(0, x % period, 3, 24, period))


@pytest.mark.parametrize("x", [0, -139, 139 * 10**10, -139 * 10**10])
def test_the_period_closes_without_repeating_a_column(x: int) -> None:
    c = grid(0, x, 1, PERIOD + 1)[0, :, 0]
    assert torch.equal(c[:, 0], c[:, PERIOD])
    steps = (c[1:, 1:] - c[1:, :-1]).norm(dim=0)
    assert steps.numpy() == pytest.approx(2 * math.sin(math.pi / PERIOD), rel=1e-3)


@pytest.mark.parametrize("y", [10**12, 2**40, 2**20 - 2, 1000])
def test_far_rows_are_saturated_on_both_sides(y: int) -> None:
    assert torch.equal(grid(y, 0, 4, 3)[:, 0], torch.ones(1, 4, 3))
    assert torch.equal(grid(-y - 4, 0, 4, 3)[:, 0], -torch.ones(1, 4, 3))


def test_a_shift_moves_rows_and_columns_by_any_part_of_a_cell() -> None:
    def shifted(y: int, x: int, by: tuple[float, float]) -> torch.Tensor:
        window = Window(y, x, 4, 5)
        return window_grid(window, cut=CUT, span_cells=SPAN, period_cells=PERIOD, shift_cell=by)

    assert torch.equal(shifted(2, 7, (0.0, 0.0)), grid(2, 7, 4, 5))
    assert torch.equal(shifted(2, 7, (3.0, 11.0)), grid(5, 18, 4, 5))
    half = shifted(2, 7, (0.5, -0.25))
    assert half[0, 0, 0, 0].item() == pytest.approx(math.tanh(CUT * (5 / SPAN - 1)), abs=1e-6)
    assert half[0, 1, 0, 0].item() == pytest.approx(
        math.cos(math.pi * (13.5 / PERIOD - 1)), abs=1e-6
    )
    far = shifted(2, 7 + PERIOD * 10**10, (0.5, -0.25))
    assert torch.equal(far, half)


def test_a_part_of_a_grid_is_the_grid_of_the_part() -> None:
    whole = grid(-30, -100, 60, 300)
    part = grid(-3, 41, 10, 11)
    torch.testing.assert_close(part, whole[:, :, 27:37, 141:152], rtol=0, atol=1e-7)


def test_each_sample_of_a_batch_has_its_own_place() -> None:
    rows = torch.tensor([[0.0, 1.0], [4.5, 5.5]])
    columns = torch.tensor([[0.0, 1.0, 2.0], [70.25, 71.25, 72.25]])
    c = stack(vertical(rows, cut=CUT, span_cells=SPAN), *horizontal(columns, period_cells=PERIOD))
    assert c.shape == (2, 3, 2, 3)
    torch.testing.assert_close(c[:1], grid(0, 0, 2, 3), rtol=0, atol=1e-6)
    assert c[1, 0, 0, 0].item() == pytest.approx(math.tanh(CUT * (9 / SPAN - 1)), abs=1e-6)
    assert c[1, 1:, 0, 0].norm().item() == pytest.approx(1, abs=1e-6)
