"""The compiled generator against the plain one: every layer, its noise, its style."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_models import SMALL, SMALL_DETAIL, random_detail, random_generator
from torch import Tensor

from infinite_render.config import GeneratorConfig
from infinite_render.geometry import Window, texture_stage, windows_given
from infinite_render.nn.generator import Generator
from infinite_render.nn.structure import StructureLayer
from infinite_render.nn.texture import TextureBlock, TextureLayer
from infinite_render.rendering.compiled import (
    CompiledStructure,
    CompiledTexture,
    compile_detail,
    compile_generator,
    compile_structure,
    compile_texture,
    fold,
)

CONFIGS = [
    SMALL,
    replace(SMALL, coordinates=False, texture_dims=(7,)),
    replace(SMALL, structure_layers=0, structure_dim=4, texture_dims=(5, 9)),
    replace(SMALL, structure_radius=3, structure_layers=3, mapping_layers=0),
]
# Largest difference, in standard deviations of what the plain network gives.
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 0.15}
MEAN_TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 0.02}
DTYPES = [torch.float32, torch.bfloat16]


def assert_same(got: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    assert got.shape == expected.shape
    apart = (got.float() - expected).abs() / expected.std()
    assert apart.max() <= TOLERANCE[dtype]
    assert apart.mean() <= MEAN_TOLERANCE[dtype]


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def inputs(config: GeneratorConfig) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """z_g [D], z_l and c over a window that is not square, and the noise of every layer."""
    margin = 2 * config.structure_margin_cells
    lattices = windows_given(texture_stage(config.blocks), Window(0, 0, 9, 12))[1:]
    noise = [drawn(1, 1, window.height, window.width) for window in lattices]
    z_local, c = (drawn(1, n, 9 + margin, 12 + margin) for n in (config.local_dim, 3))
    return drawn(config.global_dim), z_local, c, noise


def pair(x: Tensor) -> Tensor:
    """x twice, along its first axis of one: in a batch the plain network folds nothing."""
    return x.expand(2, *x.shape[1:])


def channels_last(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def run(
    compiled: tuple[CompiledStructure, CompiledTexture],
    z_local: Tensor,
    c: Tensor,
    noise: list[Tensor],
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor]:
    structure, texture = compiled
    z_structure = structure(channels_last(z_local, dtype), channels_last(c, dtype))
    asked: list[int] = []

    def read(layer: int, height: int, width: int) -> Tensor:
        asked.append(layer)
        assert noise[layer].shape[2:] == (height, width)
        return noise[layer][0, 0]

    rgb = texture(channels_last(z_structure, dtype), read)
    assert asked == sorted(asked)
    return rgb, z_structure


def compiled_of(
    generator: Generator, z_global: Tensor, dtype: torch.dtype
) -> tuple[CompiledStructure, CompiledTexture]:
    """Both synthesizers for the styles of z_g [D]."""
    with torch.no_grad():
        return compile_generator(generator, z_global, generator.style(z_global[None])[0], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("config", CONFIGS)
def test_the_compiled_generator_is_the_plain_one(
    config: GeneratorConfig, dtype: torch.dtype
) -> None:
    generator = random_generator(config)
    z_global, z_local, c, noise = inputs(config)
    with torch.no_grad():
        batch = [pair(x) for x in (z_global[None], z_local, c)]
        rgb, z_structure = generator(*batch, noise=[pair(x) for x in noise])
        got_rgb, got_structure = run(
            compiled_of(generator, z_global, dtype),
            z_local,
            c,
            noise,
            dtype,
        )
    assert got_rgb.dtype == torch.float32
    assert got_structure.dtype == dtype
    assert_same(got_structure, z_structure[:1], dtype)
    assert_same(got_rgb, rgb[0], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("up", [False, True])
def test_every_layer_folds_into_a_plain_convolution(up: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = TextureLayer(12, 9, 7, up=up)
    with torch.no_grad():
        layer.bias.normal_()
        layer.noise_strength.fill_(-0.7)
        x, w = drawn(1, 12, 10, 13), drawn(7)
        noise = drawn(1, 1, *((17, 23) if up else (8, 11)))
        expected = layer(pair(x), pair(w[None]), pair(noise))[:1]
        folded = fold(layer.conv, w, layer.bias, layer.noise_strength, dtype)
        assert_same(folded(channels_last(x, dtype), noise[0, 0]), expected, dtype)


def test_a_structure_layer_folds_into_a_plain_convolution() -> None:
    torch.manual_seed(0)
    layer = StructureLayer(6, 5, 3, 7)
    with torch.no_grad():
        layer.bias.normal_()
        x, z_global = drawn(1, 6, 12, 15), drawn(7)
        folded = fold(layer.conv, z_global, layer.bias, None, torch.float32)
        expected = layer(pair(x), pair(z_global[None]))[:1]
        assert_same(folded(x, None), expected, torch.float32)


@torch.no_grad()
def test_every_layer_reads_the_style_entry_that_is_its_own() -> None:
    """Of styles that differ from entry to entry: a change of one moves both networks alike."""
    generator = random_generator(SMALL)
    z_global, z_local, c, noise = inputs(SMALL)
    blocks = [block for block in generator.texture.blocks if isinstance(block, TextureBlock)]
    structure = compile_structure(generator.structure, z_global, torch.float32)
    w = drawn(SMALL.styles, SMALL.global_dim)
    before = None
    for entry in range(-1, SMALL.styles):
        if entry >= 0:
            w[entry] += 1
        rgb, _ = generator(z_global[None], z_local, c, w=w[None], noise=noise)
        compiled = structure, compile_texture(blocks, w, torch.float32)
        assert_same(run(compiled, z_local, c, noise, torch.float32)[0], rgb[0], torch.float32)
        assert before is None or not torch.equal(rgb, before)
        before = rgb


@torch.no_grad()
def test_every_layer_reads_its_own_noise() -> None:
    generator = random_generator(SMALL)
    z_global, z_local, c, noise = inputs(SMALL)
    compiled = compiled_of(generator, z_global, torch.float32)
    before = run(compiled, z_local, c, noise, torch.float32)[0]
    for layer in range(len(noise)):
        noise[layer] = -noise[layer]
        rgb, _ = generator(z_global[None], z_local, c, noise=noise)
        got = run(compiled, z_local, c, noise, torch.float32)[0]
        assert_same(got, rgb[0], torch.float32)
        assert (got - before).abs().max() > 1e-3
        before = got


@torch.no_grad()
def test_a_layer_without_noise_reads_none() -> None:
    generator = random_generator(SMALL)
    silent = generator.texture.blocks[1]
    assert isinstance(silent, TextureBlock)
    silent.up.noise_strength.zero_()
    z_global, z_local, c, noise = inputs(SMALL)
    rgb, _ = generator(z_global[None], z_local, c, noise=noise)
    structure, texture = compiled_of(generator, z_global, torch.float32)
    noise[2] = torch.full_like(noise[2], torch.nan)
    assert texture.blocks[1][0].noise_strength is None
    got, _ = run((structure, texture), z_local, c, noise, torch.float32)
    assert_same(got, rgb[0], torch.float32)


def test_compiling_leaves_the_generator_alone_and_shares_nothing_with_it() -> None:
    generator = random_generator(SMALL)
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    z_global, z_local, c, noise = inputs(SMALL)
    compiled = compiled_of(generator, z_global, torch.float32)
    with torch.no_grad():
        one = run(compiled, z_local, c, noise, torch.float32)[0]
    assert all(torch.equal(value, before[key]) for key, value in generator.state_dict().items())
    changed = _scribbled(generator)
    with torch.no_grad():
        assert torch.equal(run(compiled, z_local, c, noise, torch.float32)[0], one)
    assert changed


def _scribbled(generator: Generator) -> bool:
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.fill_(7)
    return True


@torch.no_grad()
def test_inputs_are_left_as_they_were() -> None:
    """A structure that is kept is read by many cells; nothing may work in place on it."""
    generator = random_generator(replace(SMALL, structure_layers=0, structure_dim=4))
    z_global, z_local, c, noise = inputs(replace(SMALL, structure_layers=0, structure_dim=4))
    given = [x.clone() for x in (z_local, c, *noise)]
    compiled = compiled_of(generator, z_global, torch.float32)
    run(compiled, z_local, c, noise, torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(given, (z_local, c, *noise), strict=True))


@torch.no_grad()
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("zoom", "rows"), [(0, 40), (1, 41), (5, 40), (2, 139), (3, 140)])
def test_the_compiled_step_of_the_ladder_is_the_plain_one(
    zoom: int, rows: int, dtype: torch.dtype
) -> None:
    step = random_detail(SMALL_DETAIL)
    x, noise = drawn(3, rows, 37).clamp(-1, 1), drawn(rows, 37)
    expected = step(x[None], zoom, noise[None, None])[0]
    assert_same(compile_detail(step, zoom, dtype)(x, noise), expected, dtype)
