"""The integer arithmetic of windows: by tables, by thousands of random cases, by real layers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from infinite_render.geometry import (
    Conv,
    Layer,
    SkipUp,
    Span,
    Stage,
    Up,
    Window,
    cover,
    first_px_of_cell,
    pieces,
    spans_given,
    spans_needed,
    structure_stage,
    texture_in_cells,
    texture_out_px,
    texture_stage,
    tiles_of,
    window_needed,
    windows_given,
)
from infinite_render.nn.ops import skip_up, up_conv
from infinite_render.nn.structure import StructureSynthesizer
from infinite_render.nn.texture import TextureSynthesizer

EDGE = 2**40
NEIGHBOURS = 8  # every random span is tried at so many places side by side
PLENTY = settings(max_examples=1500, deadline=None, derandomize=True, database=None)  # x NEIGHBOURS
SOME = settings(PLENTY, max_examples=200)
starts = st.one_of(
    st.integers(-300, 300), st.integers(-EDGE, EDGE), st.sampled_from([-EDGE, -1, 0, EDGE])
)
sizes = st.one_of(st.integers(1, 80), st.integers(1, 2**20))
blocks = st.integers(0, 10)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    start = draw(starts)
    return Span(start, start + draw(sizes))


@st.composite
def windows(draw: st.DrawFn) -> Window:
    return Window.of(draw(spans()), draw(spans()))


@st.composite
def stages(draw: st.DrawFn) -> Stage:
    """The program's own stages, and any mixture of the layers they are made of."""
    structure = structure_stage(draw(st.integers(0, 8)), draw(st.integers(0, 5)))
    texture = texture_stage(draw(blocks))
    layers = st.one_of(st.builds(Conv, st.integers(0, 5)), st.just(Up()), st.just(SkipUp()))
    mixture = tuple(draw(st.lists(layers, max_size=12)))
    return draw(st.sampled_from([structure, texture, structure + texture, mixture]))


# Tables


@pytest.mark.parametrize(
    ("cells", "blocks", "px"),
    [
        (11, 0, 11), (11, 1, 17), (11, 2, 29), (11, 3, 53),
        (11, 4, 101), (11, 5, 197), (11, 6, 389), (11, 7, 773),
        (6, 4, 21), (9, 3, 37), (13, 4, 133), (17, 4, 197), (138, 4, 2133),
    ],
)  # fmt: skip
def test_the_sizes_of_the_paper(cells: int, blocks: int, px: int) -> None:
    assert texture_out_px(cells, blocks) == px
    assert spans_given(texture_stage(blocks), Span(0, cells))[-1].size == px
    if cells > 5:
        assert texture_in_cells(px, blocks) == cells


@pytest.mark.parametrize(
    ("blocks", "sizes"),
    [
        (1, [11, 19, 17]),
        (2, [11, 19, 17, 31, 29]),
        (3, [11, 19, 17, 31, 29, 55, 53]),
        (4, [11, 19, 17, 31, 29, 55, 53, 103, 101]),
        (5, [11, 19, 17, 31, 29, 55, 53, 103, 101, 199, 197]),
        (6, [11, 19, 17, 31, 29, 55, 53, 103, 101, 199, 197, 391, 389]),
        (7, [11, 19, 17, 31, 29, 55, 53, 103, 101, 199, 197, 391, 389, 775, 773]),
    ],
)
def test_every_lattice_of_the_paper(blocks: int, sizes: list[int]) -> None:
    assert [span.size for span in spans_given(texture_stage(blocks), Span(0, 11))] == sizes


def test_the_structure_of_the_paper_eats_twelve_cells_a_side() -> None:
    stage = structure_stage(4, 3)
    assert [span.size for span in spans_given(stage, Span(0, 35))] == [35, 29, 23, 17, 11]
    assert spans_needed(stage, Span(100, 111))[0] == Span(88, 123)


@pytest.mark.parametrize(
    ("blocks", "out", "need"),
    [
        (1, Span(0, 1), Span(-1, 2)),
        (1, Span(2, 19), Span(0, 11)),
        (3, Span(0, 512), Span(-2, 67)),
        (3, Span(512, 1024), Span(62, 131)),
        (3, Span(-512, 0), Span(-66, 3)),
        (3, Span(14, 15), Span(0, 5)),
        (4, Span(30, 131), Span(0, 11)),
        (4, Span(0, 2048), Span(-2, 131)),
        (7, Span(254, 1027), Span(0, 11)),
    ],
)
def test_the_cells_a_strip_of_pixels_needs(blocks: int, out: Span, need: Span) -> None:
    assert spans_needed(texture_stage(blocks), out)[0] == need


@pytest.mark.parametrize("px", [4, 5, 20, 22, 100, 102, 0, -11])
def test_a_size_that_no_number_of_cells_paints_is_refused(px: int) -> None:
    with pytest.raises(ValueError, match=f"{px} px is not 16 m \\+ 5 px"):
        texture_in_cells(px, 4)


# Any window, any depth


@PLENTY
@given(stages(), spans())
def test_what_is_needed_suffices_and_nothing_of_it_is_idle(stage: Stage, drawn: Span) -> None:
    for shift in range(NEIGHBOURS):
        out = Span(drawn.start + shift, drawn.stop + shift)
        need = spans_needed(stage, out)[0]
        assert spans_given(stage, need)[-1].holds(out)
        for less in (Span(need.start + 1, need.stop), Span(need.start, need.stop - 1)):
            assert not spans_given(stage, less)[-1].holds(out)


@SOME
@given(stages(), spans(), spans())
def test_a_part_needs_a_part(stage: Stage, one: Span, other: Span) -> None:
    both = Span(min(one.start, other.start), max(one.stop, other.stop))
    for whole, part in zip(spans_needed(stage, both), spans_needed(stage, one), strict=True):
        assert whole.holds(part)
    for whole, part in zip(spans_given(stage, both), spans_given(stage, one), strict=True):
        assert whole.holds(part)


@SOME
@given(windows(), blocks, st.integers(0, 8), st.integers(0, 5))
def test_a_window_is_its_two_spans(window: Window, blocks: int, layers: int, radius: int) -> None:
    stage = structure_stage(layers, radius) + texture_stage(blocks)
    needed = window_needed(stage, window)
    assert needed.y_span == spans_needed(stage, window.y_span)[0]
    assert needed.x_span == spans_needed(stage, window.x_span)[0]
    given_ = windows_given(stage, needed)
    assert len(given_) == 1 + layers + 2 * blocks
    assert given_[0] == needed
    rows, columns = window.within(given_[-1])
    assert 0 <= rows.start < rows.stop <= given_[-1].height
    assert 0 <= columns.start < columns.stop <= given_[-1].width
    # The formulas of the paper, cell by cell of either sign.
    texture = texture_stage(blocks)
    first = spans_given(texture, Span(window.y, window.y + 11))[-1]
    assert first == Span(
        first_px_of_cell(window.y, blocks),
        first_px_of_cell(window.y, blocks) + texture_out_px(11, blocks),
    )


@SOME
@given(spans(), st.integers(1, 5000))
def test_shifted_by_whole_cells_a_window_needs_the_same(out: Span, cells: int) -> None:
    for blocks in (1, 3, 6):
        shifted = Span(out.start + (cells << blocks), out.stop + (cells << blocks))
        need = spans_needed(texture_stage(blocks), out)[0]
        assert spans_needed(texture_stage(blocks), shifted)[0] == Span(
            need.start + cells, need.stop + cells
        )


@SOME
@given(spans(), st.integers(1, 4096))
def test_tiles_cover_a_span_and_no_more(span: Span, tile: int) -> None:
    indices = cover(span, tile)
    assert indices.start * tile <= span.start < (indices.start + 1) * tile
    assert (indices.stop - 1) * tile < span.stop <= indices.stop * tile


@SOME
@given(starts, st.integers(1, 90), starts, st.integers(1, 90), st.integers(5, 100))
def test_pieces_cut_a_window_without_gap_or_overlap(
    y: int, height: int, x: int, width: int, about: int
) -> None:
    window = Window(y, x, height, width)
    parts = list(pieces(window, about))
    assert sum(part.height * part.width for part in parts) == height * width
    assert len({part[:2] for part in parts}) == len(parts)
    for part in parts:
        assert window.y_span.holds(part.y_span)
        assert window.x_span.holds(part.x_span)
    assert parts == sorted(parts)
    for sizes in ({part.height for part in parts}, {part.width for part in parts}):
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 1
        assert max(sizes) <= 1.5 * about + 1


@SOME
@given(windows(), windows())
def test_windows_meet_in_what_both_hold(one: Window, other: Window) -> None:
    shared = one.meet(other)
    assert shared[2:] == other.meet(one)[2:]
    assert one.meet(one) == one
    if shared.height and shared.width:
        assert shared == other.meet(one)
        for window in (one, other):
            assert window.y_span.holds(shared.y_span)
            assert window.x_span.holds(shared.x_span)
    else:
        apart = (
            one.y_span.stop <= other.y
            or other.y_span.stop <= one.y
            or one.x_span.stop <= other.x
            or other.x_span.stop <= one.x
        )
        assert apart


def test_tiles_of_a_window_are_whole_and_in_rows() -> None:
    assert list(tiles_of(Window(-1, 511, 2, 2), 512)) == [
        Window(-512, 0, 512, 512),
        Window(-512, 512, 512, 512),
        Window(0, 0, 512, 512),
        Window(0, 512, 512, 512),
    ]
    assert list(tiles_of(Window(512, -512, 512, 512), 512)) == [Window(512, -512, 512, 512)]


def test_pieces_of_a_whole_number_of_tiles_are_those_tiles() -> None:
    window = Window(-2048, 4096, 2048, 2048)
    assert list(pieces(window, 512)) == list(tiles_of(window, 512))
    sizes = [piece[2:] for piece in pieces(Window(-3, 5, 1039, 1039), 512, 1024)]
    assert sizes == [(519, 1039), (520, 1039)]


# Against the layers themselves


def impulse(size: int, at: int) -> Tensor:
    x = torch.zeros(1, 1, size, size)
    x[0, 0, at, at] = 1
    return x


@pytest.mark.parametrize("start", [-3, 0, 4])
@pytest.mark.parametrize("layer", [Conv(1), Conv(2), Up(), SkipUp()])
def test_an_impulse_keeps_its_place(layer: Layer, start: int) -> None:
    """A convolution keeps the index q, an upsampling maps it to 2q, wherever the window starts."""
    size, at = 11, 5
    x = impulse(size, at)
    if isinstance(layer, Conv):
        y, scale = F.conv2d(x, torch.ones(1, 1, 2 * layer.radius + 1, 2 * layer.radius + 1)), 1
    elif isinstance(layer, Up):
        y, scale = (
            up_conv(x, torch.tensor([1.0, 2, 1]).outer(torch.tensor([1.0, 2, 1]))[None, None]),
            2,
        )
    else:
        y, scale = skip_up(x), 2
    out = layer.gives(Span(start, start + size))
    assert y.shape[2:] == (out.size, out.size)
    weights = y[0, 0].sum(dim=1)
    centre = (weights * torch.arange(out.start, out.stop)).sum() / weights.sum()
    assert centre == scale * (start + at)


def reach(y: Tensor, x: Tensor, row: int, column: int) -> tuple[slice, slice]:
    """The rows and columns of x that pixel (row, column) of y depends on, by its gradient."""
    (gradient,) = torch.autograd.grad(y[0, :, row, column].sum(), x, retain_graph=True)
    seen = gradient[0].abs().amax(dim=0) > 0
    rows, columns = (torch.nonzero(seen.any(dim=d)).flatten() for d in (1, 0))
    assert len(rows) == int(rows[-1] - rows[0]) + 1
    return (
        slice(int(rows[0]), int(rows[-1]) + 1),
        slice(int(columns[0]), int(columns[-1]) + 1),
    )


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_the_texture_reads_what_geometry_says_of_every_pixel(blocks: int) -> None:
    torch.manual_seed(blocks)
    texture = TextureSynthesizer(3, [3] * blocks, 4, 1).double()
    start, stage = Window(-9, 5, 6, 8), texture_stage(blocks)
    x = torch.randn(1, 3, 6, 8, dtype=torch.float64, requires_grad=True)
    w = torch.randn(1, 2 * blocks + 1, 4, dtype=torch.float64)
    y = texture(x, w)
    out = windows_given(stage, start)[-1]
    assert y.shape[2:] == (out.height, out.width)
    for row in range(out.height):
        column = row * out.width // out.height
        px = Window(out.y + row, out.x + column, 1, 1)
        assert reach(y, x, row, column) == window_needed(stage, px).within(start)


@pytest.mark.parametrize(("layers", "radius"), [(1, 0), (1, 3), (2, 1), (3, 2)])
def test_the_structure_reads_what_geometry_says_of_every_cell(layers: int, radius: int) -> None:
    torch.manual_seed(0)
    structure = StructureSynthesizer(3, 4, 5, layers=layers, radius=radius).double()
    start, stage = Window(7, -20, 15, 14), structure_stage(layers, radius)
    x = torch.randn(1, 3, 15, 14, dtype=torch.float64, requires_grad=True)
    c = torch.randn(1, 3, 15, 14, dtype=torch.float64)
    y = structure(torch.randn(1, 5, dtype=torch.float64), x, c)
    out = windows_given(stage, start)[-1]
    assert y.shape[2:] == (out.height, out.width)
    for row, column in ((0, 0), (out.height - 1, out.width - 1)):
        cell = Window(out.y + row, out.x + column, 1, 1)
        assert reach(y, x, row, column) == window_needed(stage, cell).within(start)


@pytest.mark.parametrize("blocks", [1, 2, 3, 4])
@pytest.mark.parametrize("cells", [(6, 6), (6, 9), (11, 7)])
def test_the_layers_give_the_sizes_that_geometry_says(blocks: int, cells: tuple[int, int]) -> None:
    texture = TextureSynthesizer(2, [2] * blocks, 3, 1)
    sizes: list[tuple[int, ...]] = []
    for block in texture.blocks:
        for layer in (block.up, block.conv):  # type: ignore[union-attr]
            layer.register_forward_hook(lambda _m, _i, out: sizes.append(tuple(out.shape[2:])))  # type: ignore[union-attr]
    texture(torch.zeros(1, 2, *cells), torch.zeros(1, 2 * blocks + 1, 3))
    lattices = windows_given(texture_stage(blocks), Window(-5, 3, *cells))
    assert sizes == [(window.height, window.width) for window in lattices[1:]]
