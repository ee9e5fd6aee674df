"""Styles that vary by location: exact, one hash, and the plain picture where they do not."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_models import SMALL, SMALL_DETAIL, random_model
from torch import Tensor

from infinite_render.fields.drifting_styles import Drifting, StyleLaw
from infinite_render.fields.latents import SeededLatents
from infinite_render.fields.local import LocalLaw
from infinite_render.fields.shapes import Disc, Polygon, Shapes
from infinite_render.fields.styles import (
    Anchors,
    AnyStyle,
    MixedStyle,
    OneStyle,
    PinnedStyle,
    Points,
    Style,
    StyledPoint,
    StyleField,
)
from infinite_render.geometry import (
    Window,
    structure_stage,
    texture_stage,
    window_needed,
    windows_given,
)
from infinite_render.nn.coordinates import turns_of, window_grid
from infinite_render.nn.ops import ModulatedConv, activate, center_crop, skip_up, up_conv
from infinite_render.nn.texture import COARSE
from infinite_render.pixels import to_uint8
from infinite_render.rendering.canvas import Canvas, paint_canvas
from infinite_render.rendering.scene import Picture, Scene
from infinite_render.rendering.shares import Shares
from infinite_render.rendering.store import open_store

POINTS = Points(
    tuple(StyledPoint(y, x, Style(i)) for i, (y, x) in enumerate([(3, 4), (9.5, 30), (20, 8)])),
    20.0,
)
MANY = Points(tuple(StyledPoint(i * 7 % 11, i * 2.0, Style(i)) for i in range(16)), 9.0)
BOX = Polygon((((4, 2), (4, 12), (14, 12), (14, 2)),), Style(40))
FIELDS: dict[str, StyleField] = {
    "points": POINTS,
    "many points": MANY,
    "anchors": Anchors(3, 6.5),
    "drifting": Drifting(3, StyleLaw(0.7, 6, SMALL.span_cells)),
    "mixed": Drifting(3, StyleLaw(0.9, 6, SMALL.span_cells, 0.6, 16)),
    "shapes": Shapes(OneStyle(Style(3)), (Disc(5.5, 20, 6, Style(9)), BOX), 4.0),
}


def sha(picture: Picture) -> str:
    return hashlib.sha256(picture.tobytes()).hexdigest()


def scene(styles: StyleField | None, wrap: int | None = None, precision: str = "float32") -> Scene:
    model = random_model(detail=SMALL_DETAIL)
    return Scene(model, seed=3, precision=precision, styles=styles, wrap_cells=wrap)


# Against the plain network, modulated at every location


def shares_at(field: StyleField, window: Window, points: int) -> tuple[list[AnyStyle], Tensor]:
    """Shares on a lattice by the definition: linear between nodes, one point at a time."""
    first_y, first_x = window.y // points, window.x // points
    cells = Window(first_y, first_x, window.height // points + 3, window.width // points + 3)
    blend = field.blend(cells)
    shares = np.empty((len(blend.styles), window.height, window.width))
    for i in range(window.height):
        for j in range(window.width):
            y, x = (window.y + i) / points - first_y, (window.x + j) / points - first_x
            (q, t), (p, u) = divmod(y, 1), divmod(x, 1)
            corner = blend.shares[:, int(q) : int(q) + 2, int(p) : int(p) + 2].astype(float)
            shares[:, i, j] = [
                (1 - t) * ((1 - u) * c[0, 0] + u * c[0, 1]) + t * ((1 - u) * c[1, 0] + u * c[1, 1])
                for c in corner
            ]
    return list(blend.styles), torch.from_numpy(shares)


def modulated(conv: ModulatedConv, x: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """x [1,I,h,w] in float64; the style on the lattices of input and output, [1,D,h,w]."""

    def scales(style: Tensor) -> Tensor:
        return conv.modulation(style.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    weight = conv.scaled_weight()
    x = x * scales(before)
    y = up_conv(x, weight) if conv.up else F.conv2d(x, weight)
    if conv.demodulate:  # one 1x1 convolution of s^2 with the summed squared weights
        squares = weight.square().sum(dim=(2, 3), keepdim=True)
        y = y * torch.rsqrt(F.conv2d(scales(after).square(), squares) + 1e-8)
    return y


def plainly(window: Window, field: StyleField, wrap: int | None = None) -> Picture:
    """The window by one run of the network of `nn`, its style a vector at every location."""
    painter = scene(field, wrap)
    config, network = SMALL, random_model().generator.double()
    field = painter.styles or field
    stages = structure_stage(config.structure_layers, config.structure_radius)
    cells = window_needed(texture_stage(config.blocks), window)
    low = windows_given(stages, window_needed(stages, cells))
    lattices = windows_given(texture_stage(config.blocks), cells)

    def z_of(style: Style) -> Tensor:
        return torch.from_numpy(style.z_global(config.global_dim)).double()[None]

    def vector(style: AnyStyle, entry: int | None) -> Tensor:
        """z_g of a style, or an entry of its w, [1,D]."""
        assert not isinstance(style, PinnedStyle)
        coarse = style.coarse if isinstance(style, MixedStyle) else style
        if entry is None:
            return z_of(coarse)
        mixed: list[tuple[Style, float]] = [(coarse, 1.0)]
        if isinstance(style, MixedStyle) and entry >= COARSE:
            mixed = list(style.fine)
        return torch.stack([share * network.texture.mapping(z_of(s)) for s, share in mixed]).sum(0)

    def styles(lattice: int | Window, entry: int | None) -> Tensor:
        """Of a window of cells, or on a lattice of the texture."""
        if isinstance(lattice, Window):
            names, shares = shares_at(field, lattice, 1)
        else:
            names, shares = shares_at(field, lattices[lattice], 1 << (lattice + 1) // 2)
        vectors = torch.cat([vector(style, entry) for style in names])
        return torch.einsum("kd,khw->dhw", vectors, shares)[None]

    with torch.no_grad():
        z_local = painter.latents.z_local(low[0], config.local_dim, LocalLaw.of(config))
        x = torch.from_numpy(z_local).double()[None]
        c = window_grid(
            low[0],
            cut=config.cut,
            span_cells=config.patch_cells + config.start_rows - 1,
            period_cells=wrap or config.period_cells,
            turns=turns_of(wrap, config.period_cells) if wrap else 1,
        ).double()
        for layer, given, out in zip(network.structure.layers, low, low[1:], strict=False):
            x = torch.cat([x, center_crop(c, *x.shape[2:])], dim=1)
            x = modulated(layer.conv, x, styles(given, None), styles(out, None))
            x = activate(x + layer.bias[:, None, None])
        rgb: Tensor | None = None
        for b, block in enumerate(network.texture.blocks):
            for i, layer in ((2 * b, block.up), (2 * b + 1, block.conv)):
                noise = painter.latents.texture_noise(i, lattices[i + 1])
                x = modulated(layer.conv, x, styles(i, i), styles(i + 1, i))
                x = x + layer.noise_strength * torch.from_numpy(noise).double()
                x = activate(x + layer.bias[:, None, None])
            of_rgb = styles(2 * b + 2, min(2 * b + 3, 2 * config.blocks))
            painted = modulated(block.to_rgb.conv, x, of_rgb, of_rgb)
            painted = painted + block.to_rgb.bias[:, None, None]
            if rgb is not None:
                painted = painted + center_crop(skip_up(rgb), *painted.shape[2:])
            rgb = painted
    assert rgb is not None
    rows, columns = window.within(lattices[-1])
    return to_uint8(rgb[0].float()[:, rows, columns])


def assert_same_but_for_rounding(got: Picture, expected: Picture) -> None:
    apart = np.abs(got.astype(int) - expected.astype(int))
    assert apart.max() <= 1
    assert (apart.max(axis=2) > 0).mean() <= 1e-3


@pytest.mark.parametrize("name", FIELDS)
def test_the_plane_is_that_of_the_plain_network_modulated_by_location(name: str) -> None:
    window = Window(30, 20, 60, 130)
    got = scene(FIELDS[name]).render(*window)
    assert_same_but_for_rounding(got, plainly(window, FIELDS[name]))
    assert not (got == scene(None).render(*window)).all(axis=2).all()


def test_a_cylinder_closes_as_the_plain_network_with_periodic_inputs_does() -> None:
    wrap = 19
    window = Window(10, 8 * wrap - 40, 40, 80)
    for field in (FIELDS["anchors"], FIELDS["drifting"], FIELDS["mixed"], FIELDS["shapes"]):
        got = scene(field, wrap).render(*window)
        assert_same_but_for_rounding(got, plainly(window, field, wrap))


def test_rows_that_are_alike_are_blended_as_rows_that_are_not() -> None:
    cells, window = Window(0, 0, 7, 9), Window(3, 5, 40, 60)
    nodes = torch.from_numpy(FIELDS["anchors"].blend(cells).shares)
    unlike = torch.cat([nodes, torch.zeros_like(nodes[:1])])
    unlike[-1, 1] = 1e-30  # no share, and yet this row is not as the next
    (fast,), (slow,) = (Shares(given, cells, window, 8).bands(5) for given in (nodes, unlike))
    assert fast.weights is not None
    assert slow.weights is not None
    count = len(fast.weights)
    assert fast.weights.shape[1] == window.width
    assert slow.styles[:count] == fast.styles
    whole = slow.weights[:count, : 40 * 60].view(count, 40, 60)
    torch.testing.assert_close(fast.weights[:, None].expand_as(whole), whole)


# One hash


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_uniform_style_field_is_the_plain_picture(precision: str) -> None:
    window = (-70, -70, 200, 210)
    plain = sha(scene(None, precision=precision).render(*window))
    own = Style(3)
    for field in (
        OneStyle(own),
        Points((StyledPoint(0, 0, own), StyledPoint(5, 5, own)), 3.0),
        Shapes(OneStyle(own), (Disc(2, 2, 5, own), BOX._replace(style=own)), 4.0),
    ):
        assert sha(scene(field, precision=precision).render(*window)) == plain


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("wrap", [None, 19])
@pytest.mark.parametrize("name", FIELDS)
def test_a_window_of_a_window_is_that_window(name: str, wrap: int | None, depth: int) -> None:
    field = FIELDS[name]
    whole = scene(field, wrap).render(-70, -90, 200, 300, depth=depth)
    other = scene(field, wrap)
    for y, x, height, width in [(60, 85, 70, 90), (0, 200, 200, 100), (10, 10, 1, 1)]:
        part = other.render(y - 70, x - 90, height, width, depth=depth, workers=2)
        assert np.array_equal(part, whole[y : y + height, x : x + width])


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("wrap", [5, 16, 33])
def test_a_cylinder_is_the_same_after_a_turn(wrap: int, depth: int) -> None:
    for field in (None, FIELDS["anchors"], FIELDS["mixed"]):
        painter = scene(field, wrap)
        period = painter.wrap_px(depth)
        assert period == wrap * 8 << depth
        first = sha(painter.render(-20, -30, 90, 100, depth=depth))
        for turns in (-3, 1, 10**9):
            again = scene(field, wrap).render(-20, turns * period - 30, 90, 100, depth=depth)
            assert sha(again) == first


@pytest.mark.parametrize("wrap", [None, 50])
def test_a_fused_canvas_has_one_hash(tmp_path: Path, wrap: int | None) -> None:
    window = Window(-64, 64, 300, 400)
    seen = {sha(scene(FIELDS["shapes"], wrap).render(*window))}
    for workers, order in ((1, list), (2, lambda blocks: list(blocks)[::-1])):
        out = tmp_path / f"{workers}.zarr"
        canvas = Canvas(scene(FIELDS["shapes"], wrap), window)
        steps = paint_canvas(canvas, out, workers=workers, order=order)
        for _ in range(3):
            next(steps)
        steps.close()  # killed half way, and gone on with
        list(paint_canvas(canvas, out, workers=workers, order=order))
        with open_store(out) as store:
            seen.add(sha(store.read(0, 0, *window[2:])))
    assert len(seen) == 1


def test_where_one_style_holds_the_picture_is_the_plain_one_of_that_style() -> None:
    """Far from a border, bit for bit: here in whole cells, inside a wide disc."""
    field = Shapes(OneStyle(Style(3)), (Disc(0, 0, 60, Style(9)),), 4.0)
    got = scene(field).render(-64, -64, 128, 128)
    latents = SeededLatents(3)
    alone = Scene(random_model(), precision="float32", latents=latents, styles=OneStyle(Style(9)))
    assert sha(got) == sha(alone.render(-64, -64, 128, 128))
    assert sha(got) != sha(scene(None).render(-64, -64, 128, 128))


def test_the_identity_tells_fields_apart() -> None:
    identities = [scene(field).identity() for field in (None, *FIELDS.values())]
    identities += [scene(None, 5).identity(), scene(None, 6).identity()]
    assert all(a != b for i, a in enumerate(identities) for b in identities[:i])


def test_shares_sum_to_one_and_do_not_depend_on_the_window() -> None:
    for field in (*FIELDS.values(), FIELDS["shapes"].wrapped(23), MANY.wrapped(31)):
        whole = field.blend(Window(-4, -50, 30, 120))
        assert np.abs(whole.shares.sum(axis=0) - 1).max() < 1e-6
        for part in (Window(3, 3, 1, 1), Window(0, -20, 9, 70), Window(10, 18, 3, 9)):
            blend = field.blend(part)
            rows, columns = part.within(Window(-4, -50, 30, 120))
            for style, share in zip(whole.styles, whole.shares, strict=True):
                expected = share[rows, columns]
                if style in blend.styles:
                    assert np.array_equal(blend.shares[blend.styles.index(style)], expected)
                else:
                    assert not expected.any()


def test_an_anchor_has_its_style_to_itself_at_its_own_place() -> None:
    field = Anchors(3, 8.0)
    for number in (-5, 0, 7):
        blend = field.blend(Window(0, 8 * number, 2, 1))
        assert blend.styles == (Style(3, number),)
    around = field.wrapped(31).blend(Window(0, 0, 1, 31))
    assert len(around.styles) == 4  # the spacing is 31 / 4


def test_a_polygon_with_a_hole_covers_what_lies_between() -> None:
    hole = ((8, 5), (8, 8), (11, 8), (11, 5))
    field = Shapes(OneStyle(Style(0)), (BOX._replace(rings=(*BOX.rings, hole)),), 0.5)
    blend = field.blend(Window(0, 0, 20, 20))
    cover = blend.shares[blend.styles.index(BOX.style)]
    for y in range(20):
        for x in range(20):
            inside = 4 < y < 14 and 2 < x < 12 and not (8 <= y <= 11 and 5 <= x <= 8)
            border = (y in (4, 14) and 2 <= x <= 12) or (x in (2, 12) and 4 <= y <= 14)
            rim = (y in (8, 11) and 5 <= x <= 8) or (x in (5, 8) and 8 <= y <= 11)
            expected = 0.5 if border or rim else float(inside)
            assert math.isclose(cover[y, x], expected, abs_tol=1e-6), (y, x)
