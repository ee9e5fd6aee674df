"""The arithmetic of a block: counted at the convolutions, compared with one endless tile."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch.nn.functional as F
from small_models import SMALL, SMALL_DETAIL, random_model
from torch import Tensor

from infinite_render.config import DetailConfig, GeneratorConfig, RenderConfig
from infinite_render.geometry import spans_needed
from infinite_render.rendering import fused
from infinite_render.rendering import plan as planned
from infinite_render.rendering.plan import BlockPlan
from infinite_render.rendering.scene import Scene

EDGE = 2**40
FAR = [(0, 0), (10**12, -(10**12)), (-(10**12), 10**12), (EDGE - 256, -EDGE), (-EDGE, EDGE - 256)]


@pytest.mark.parametrize(
    ("config", "render"),
    [
        (SMALL, RenderConfig(64, 128)),
        (replace(SMALL, coordinates=False, texture_dims=(5, 3)), RenderConfig(32, 128)),
        (replace(SMALL, structure_layers=0, structure_dim=4), RenderConfig(64, 64)),
    ],
)
def test_the_macs_of_a_block_are_those_its_convolutions_do(
    config: GeneratorConfig, render: RenderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted at the convolutions themselves; the blurs, channel by channel, do not count."""
    done: list[int] = []
    conv2d, conv_transpose2d = F.conv2d, F.conv_transpose2d

    def counted(x: Tensor, weight: Tensor, *args: object, groups: int = 1) -> Tensor:
        y = conv2d(x, weight, *args, groups=groups)  # type: ignore[call-overload]
        done.append(weight.numel() * y.shape[2] * y.shape[3] if groups == 1 else 0)
        return y  # type: ignore[no-any-return]

    def counted_up(x: Tensor, weight: Tensor, **options: int) -> Tensor:
        if weight.shape[:2] != (1, 1) and options.get("groups", 1) == 1:
            done.append(weight.numel() * x.shape[2] * x.shape[3])
        return conv_transpose2d(x, weight, **options)

    painter = random_model(
        config, cell_px=render.cell_px, block_px=render.block_px, detail=SMALL_DETAIL
    )
    fresh = Scene(painter, precision="float32")
    monkeypatch.setattr(fused, "_one_pass", lambda _: None)  # two passes: each convolution is seen
    monkeypatch.setattr(F, "conv2d", counted)
    monkeypatch.setattr(F, "conv_transpose2d", counted_up)
    for depth in (0, 1, 2):
        done.clear()
        fresh.render(
            render.block_px, -render.block_px, render.block_px, render.block_px, depth=depth
        )
        assert sum(done) == BlockPlan(config, render, SMALL_DETAIL, depth).block_macs


def test_the_ideal_is_what_a_growing_block_comes_to() -> None:
    config = GeneratorConfig()
    wastes = [BlockPlan(config, RenderConfig(side, side)).waste for side in (2048, 16384, 2**20)]
    assert all(more > less for more, less in pairwise(wastes))
    assert wastes[-1] == pytest.approx(1, abs=1e-3)
    dims, cells = (config.structure_dim, *config.texture_dims), 1.0
    per_cell = 0.0
    for before, after in pairwise(dims):
        per_cell += 9 * before * after * cells + (9 * after + 3) * after * 4 * cells
        cells *= 4
    widths = [config.local_dim + 3] + [config.structure_dim + 3] * (config.structure_layers - 1)
    per_cell += sum(
        (2 * config.structure_radius + 1) ** 2 * w * config.structure_dim for w in widths
    )
    ideal = BlockPlan(config, RenderConfig()).ideal_macs_per_px
    assert ideal == pytest.approx(per_cell / config.stride**2, rel=1e-4)


PIECES = {0: (512, 512), 1: (512, 512), 2: (2048, 1024), 3: (1024, 1024), 4: (1024, 1024)}


@pytest.mark.parametrize("depth", range(9))
def test_the_default_model_wastes_little_at_any_depth(depth: int) -> None:
    plan = BlockPlan(GeneratorConfig(), RenderConfig(), DetailConfig(), depth)
    assert 1 < plan.waste <= 1.10
    assert plan.piece_px == PIECES.get(depth, (1024, 512))


def test_the_default_model_is_sized_for_a_cpu() -> None:
    assert BlockPlan(GeneratorConfig(), RenderConfig()).ideal_macs_per_px <= 100_000


def test_where_no_piece_wastes_little_enough_a_cell_is_painted_alone() -> None:
    for cell_px in (64, 128):
        assert BlockPlan(SMALL, RenderConfig(cell_px, 128)).piece_px == (cell_px, cell_px)


@pytest.mark.parametrize("place", FAR)
def test_every_block_has_the_shapes_of_every_other(place: tuple[int, int]) -> None:
    plan = BlockPlan(SMALL, RenderConfig(64, 128))
    y, x = place[0] // 128, place[1] // 128
    for here, there in zip(plan.level_windows(0, 0), plan.level_windows(y, x), strict=True):
        assert here[2:] == there[2:]
    assert (
        plan.level_windows(y, x)[0].y_span == spans_needed(plan.texture, plan.block(y, x).y_span)[0]
    )


@pytest.mark.parametrize("depth", [1, 3])
def test_the_contract_holds_in_pieces_of_several_cells(
    depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    climber = random_model(detail=SMALL_DETAIL)
    monkeypatch.setattr(planned, "MOST_WASTE", {1: 1.65, 3: 1.9}[depth])
    wide = Scene(climber, precision="float32")
    assert wide.plan(depth).piece_px == {1: (128, 64), 3: (128, 128)}[depth]
    whole = wide.render(-100, 30, 256, 200, depth=depth, workers=3)
    part = Scene(climber, precision="float32").render(-73, 63, 129, 65, depth=depth)
    assert np.array_equal(part, whole[27:156, 33:98])
    assert wide.identity(depth)["piece_px"] != wide.identity(0)["piece_px"]
