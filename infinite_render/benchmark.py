"""How fast this machine paints with this model, and how near that is to its convolutions alone.

All figures come from one run on one machine, so that their ratios hold where absolute times do not:
    bound      the dense convolutions of a block alone, at their best rate, one chain a worker
    render     blocks painted and thrown away, at their best rate
    to file    blocks painted into a store and on into a pyramidal TIFF
    published  the paper's schedule: patches of the training size, one by one, unfolded, float32
Arithmetic is counted in multiply-accumulates (MAC) of the dense convolutions. The bound is of land;
what lakes cost more is told apart.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from infinite_render.fields.drifting_styles import StyleLaw
from infinite_render.fields.latents import LatentField, SeededLatents
from infinite_render.fields.local import ALONE, LAKES_DRY, LocalLaw
from infinite_render.fields.styles import StyleField
from infinite_render.geometry import Window, window_needed
from infinite_render.models import Model
from infinite_render.rendering.canvas import Canvas, paint_canvas
from infinite_render.rendering.compiled import PlainConv, PlainRGB
from infinite_render.rendering.plan import BlockPlan
from infinite_render.rendering.scene import Scene
from infinite_render.rendering.strips import strips
from infinite_render.rendering.workers import SingleThreads

Layer = PlainConv | PlainRGB


@dataclass(frozen=True)
class Figure:
    """One measured or counted figure."""

    name: str
    value: float
    unit: str
    meaning: str


@dataclass
class TimedLatents:
    """A latent field that adds up the processor time its noise takes, over all threads."""

    inner: LatentField
    seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def _timed(self, name: str, *arguments: Any) -> NDArray[np.float32]:
        before = time.thread_time()
        values: NDArray[np.float32] = getattr(self.inner, name)(*arguments)
        spent = time.thread_time() - before
        with self._lock:
            self.seconds += spent
        return values

    def z_global(self, dim: int) -> NDArray[np.float32]:
        return self._timed("z_global", dim)

    def own_styles(self, law: StyleLaw) -> StyleField | None:
        return self.inner.own_styles(law)

    def z_local(self, window_cell: Window, dim: int, law: LocalLaw = ALONE) -> NDArray[np.float32]:
        return self._timed("z_local", window_cell, dim, law)

    def relief(self, window_cell: Window, wrap_cells: int | None = None) -> NDArray[np.float32]:
        return self._timed("relief", window_cell, wrap_cells)

    def texture_noise(self, layer: int, window: Window) -> NDArray[np.float32]:
        return self._timed("texture_noise", layer, window)

    def detail_noise(self, step: int, window: Window) -> NDArray[np.float32]:
        return self._timed("detail_noise", step, window)

    def describe(self) -> dict[str, Any]:
        return self.inner.describe()


def benchmark(
    model: Model,
    *,
    depth: int = 0,
    workers: int = 1,
    precision: str = "auto",
    blocks: int = 8,
    seed: int = 0,
) -> Iterator[Figure]:
    """Measure, telling each figure as it is known. Takes a minute or two for `blocks` = 8.

    Raises UsageError for a depth or a precision that is not to be had.
    """
    latents = TimedLatents(SeededLatents(seed))
    scene = Scene(model, precision=precision, latents=latents)
    plan = scene.plan(depth)
    mpx = plan.render.block_px**2 / 1e6
    kmac = plan.ideal_macs_per_px / 1e3
    yield Figure("arithmetic", kmac, "kMAC/px", "dense convolutions, one tile without borders")
    yield Figure("waste", plan.waste, "x", "arithmetic of the blocks and cells over that")
    if plan.generator.shore is not None:
        water = plan.water_macs_per_px / 1e3
        yield Figure("water", water, "kMAC/px", "more, at most, where a lake fills a block's width")

    rounds = max(1, blocks // workers)
    taken = _measure(scene, latents, plan, workers, rounds)
    bound = workers * mpx / taken.bound_s
    yield Figure("bound", bound, "Mpx/s", f"the same convolutions alone, {workers} at a time")
    render = workers * mpx / min(taken.rounds_s)
    meaning = f"a block by each of {workers} workers, the best of {rounds} rounds"
    yield Figure("render", render, "Mpx/s", meaning)
    yield Figure("share of the bound", render / bound, "", "rendering over the convolutions alone")
    noise = latents.seconds / (workers * sum(taken.rounds_s))
    yield Figure("noise", noise, "", "processor time of the noise over the workers' time")

    to_file = _to_file_mpx_per_s(scene, depth, workers, blocks)
    yield Figure("render + TIFF", to_file, "Mpx/s", "the same blocks into store and pyramidal TIFF")
    mean_render = rounds * workers * mpx / sum(taken.rounds_s)
    yield Figure("TIFF's cost", mean_render / to_file - 1, "", "time the store and the file add")
    published = _published_mpx_per_s(model)
    yield Figure("published schedule", published, "Mpx/s", "patches one by one, unfolded, float32")
    if depth == 0:
        yield Figure("speed-up", to_file / published, "x", "render + TIFF over that schedule")


@dataclass(frozen=True)
class _Taken:
    """The seconds of the two that took turns, for a noisy machine slows both."""

    bound_s: float  # a worker's convolutions for one block at their best, while all run theirs
    rounds_s: list[float]  # each round of painting, a block by each worker


def _measure(
    scene: Scene, latents: TimedLatents, plan: BlockPlan, workers: int, rounds: int
) -> _Taken:
    """Let the convolutions alone and whole blocks take turns, once every worker has its memory.

    `latents` count from there on, too.
    """
    size = scene.block_px
    calls = _convolutions(scene, plan)
    best = np.full((workers, len(calls)), np.inf)
    barrier = threading.Barrier(workers)

    @torch.inference_mode()
    def convolve(worker: int) -> None:
        for i, (layer, shape, _) in enumerate(calls):
            x = torch.randn(shape).to(layer.weight.dtype, memory_format=torch.channels_last)
            barrier.wait()
            best[worker, i] = min(best[worker, i], *(_seconds_of(layer, x) for _ in range(2)))

    def paint(number: int) -> None:
        scene.paint(Window(0, number * size, size, size), plan.depth)

    scene.forget()
    seconds = []
    with SingleThreads(workers) as pool:
        _drain(pool, paint, range(workers))
        latents.seconds = 0.0
        for done in range(workers, workers * (rounds + 1), workers):
            _drain(pool, convolve, range(workers))
            begin = time.perf_counter()
            _drain(pool, paint, range(done, done + workers))
            seconds.append(time.perf_counter() - begin)
    counts = np.array([count for _, _, count in calls])
    return _Taken(float((best @ counts).max()), seconds)


def _drain(pool: ThreadPoolExecutor, task: Callable[[int], None], numbers: range) -> None:
    for _ in pool.map(task, numbers):
        pass


def _seconds_of(layer: Layer, x: Tensor) -> float:
    begin = time.perf_counter()
    if isinstance(layer, PlainConv) and layer.up:
        F.conv_transpose2d(x, layer.weight, stride=2, padding=1)
    else:
        F.conv2d(x, layer.weight)
    return time.perf_counter() - begin


def _convolutions(scene: Scene, plan: BlockPlan) -> list[tuple[Layer, tuple[int, ...], int]]:
    """Every dense convolution of a block of land: layer, shape of its input, how many times."""
    windows = plan.level_windows(0, 0)
    latent = plan.latent_window(windows[0])
    counted: dict[tuple[int, tuple[int, ...]], tuple[Layer, int]] = {}

    def chain(layers: Sequence[Layer], height: int, width: int) -> tuple[int, int]:
        for layer in layers:
            channels = layer.weight.shape[0 if getattr(layer, "up", False) else 1]
            key = id(layer), (1, channels, height, width)
            counted[key] = layer, counted.get(key, (layer, 0))[1] + 1
            if isinstance(layer, PlainConv):
                shrink = layer.weight.shape[2] - 1
                up = 2 * height - 3, 2 * width - 3
                height, width = up if layer.up else (height - shrink, width - shrink)
        return height, width

    structure, texture, step = scene.stages(plan.depth)
    chain(structure.layers, latent.height, latent.width)
    for level, window in enumerate(windows[1:]):
        for tile in plan.tiles(window):
            needed = window_needed(plan.stage(level), tile)
            if level == 0:
                chain([part for block in texture.blocks for part in block], *needed[2:])
            elif step is not None:
                height, width = chain(step.layers[:-2], *needed[2:])
                up, high = step.layers[-2:]
                for read, painted in strips(height):
                    _, wide = chain([up], read.stop - read.start, width)
                    chain([high, step.to_rgb], painted.stop - painted.start + 2, wide)
    return [(layer, shape, count) for (_, shape), (layer, count) in counted.items()]


def _to_file_mpx_per_s(scene: Scene, depth: int, workers: int, blocks: int) -> float:
    """As many blocks, in rows of one for each worker: the file is written a row behind them."""
    rows = max(1, blocks // workers)
    size = scene.block_px
    canvas = Canvas(scene, Window(0, 0, rows * size, workers * size), depth)
    scene.forget()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        for _ in paint_canvas(canvas, Path(folder) / "bench.tif", workers=workers):
            pass
        seconds = time.perf_counter() - begin
    return rows * workers * size * size / 1e6 / seconds


@torch.inference_mode()
def _published_mpx_per_s(model: Model, patches: int = 12) -> float:
    """Patches as in training, each with its own margin, on all cores; seamless steps between."""
    config = model.recipe.generator
    cells = config.patch_cells + 2 * config.structure_margin_cells
    z_global = torch.randn(1, config.global_dim)
    z_local = torch.randn(1, config.latent_dim, cells, cells)
    z_local[:, config.local_dim :] = LAKES_DRY  # it, too, paints land alone
    c = torch.randn(1, 3, cells, cells)
    seconds = []
    for _ in range(patches):
        begin = time.perf_counter()
        model.generator(z_global, z_local, c)
        seconds.append(time.perf_counter() - begin)
    step_px = config.stride * ((config.patch_px - 5) // config.stride)
    return step_px**2 / 1e6 / float(np.median(seconds))
