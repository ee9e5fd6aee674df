"""The benchmark counts what is painted, and its ratios are made of its own figures."""

from __future__ import annotations

import pytest
from small_models import SMALL_DETAIL, random_model

from infinite_render.benchmark import TimedLatents, _convolutions, benchmark
from infinite_render.fields.drifting_styles import Drifting, StyleLaw
from infinite_render.fields.latents import SeededLatents
from infinite_render.geometry import Window
from infinite_render.rendering.compiled import PlainConv
from infinite_render.rendering.scene import Scene


def test_the_figures_hang_together() -> None:
    figures = {figure.name: figure.value for figure in benchmark(random_model(), blocks=2)}
    assert figures["share of the bound"] == pytest.approx(figures["render"] / figures["bound"])
    speed_up = figures["render + TIFF"] / figures["published schedule"]
    assert figures["speed-up"] == pytest.approx(speed_up)
    assert min(figures["waste"], figures["arithmetic"], figures["noise"]) > 0


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_the_bound_runs_every_product_a_block_needs(depth: int) -> None:
    scene = Scene(random_model(detail=SMALL_DETAIL), precision="float32")
    plan = scene.plan(depth)
    macs = 0
    for layer, (_, channels, height, width), count in _convolutions(scene, plan):
        taps = layer.weight.shape[2] ** 2
        outputs = layer.weight.shape[1 if getattr(layer, "up", False) else 0]
        shrink = layer.weight.shape[2] - 1
        places = (
            height * width
            if isinstance(layer, PlainConv) and layer.up
            else ((height - shrink) * (width - shrink))
        )
        macs += count * taps * channels * outputs * places
    assert macs == plan.block_macs


def test_timed_latents_are_the_latents() -> None:
    plain, timed = SeededLatents(4), TimedLatents(SeededLatents(4))
    window = Window(-3, 5, 40, 50)
    assert (timed.z_local(window, 3) == plain.z_local(window, 3)).all()
    assert (timed.texture_noise(1, window) == plain.texture_noise(1, window)).all()
    assert (timed.relief(window) == plain.relief(window)).all()
    assert timed.describe() == plain.describe()
    law = StyleLaw(0.5, 6, 17)
    assert timed.own_styles(law) == plain.own_styles(law) == Drifting(4, law)
    assert timed.seconds > 0
