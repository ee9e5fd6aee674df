"""A scene: one model, one seed, one precision. Its picture is a pure function on an infinite plane.

Spaces: px of the plane of a depth, int, both signs up to 2^40; the plane of depth d is 2^d times
finer, and its pixel 2^d q lies where pixel q of depth 0 does. Block (by, bx) covers the px
[by B, (by + 1) B) of its own depth.
A cell is always computed with the same tensor shapes, alone, by one thread with one intra-op
thread: the same convolution on another shape, batch or thread count differs in its last bits.
On a cylinder of P px every pixel is that at x mod P, painted once and for all there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infinite_render.config import check_truncation
from infinite_render.errors import ModelError, UsageError
from infinite_render.fields.drifting_styles import StyleLaw
from infinite_render.fields.latents import LatentField, SeededLatents
from infinite_render.fields.local import DRIFT_VERSION, LocalLaw
from infinite_render.fields.relief import RELIEF_VERSION, relief_in
from infinite_render.fields.styles import StyleField
from infinite_render.fields.wrapped import WrappedLatents
from infinite_render.geometry import Window, tiles_of, turns, window_needed, windows_given
from infinite_render.models import Model
from infinite_render.nn import coordinates
from infinite_render.nn.lakes import LAKES_VERSION
from infinite_render.nn.surface import laid_over
from infinite_render.nn.truncation import TRUNCATION_VERSION, Truncation
from infinite_render.pixels import to_uint8
from infinite_render.precision import DTYPES, choose_precision
from infinite_render.rendering.coarse import Coarse, Water, shores_in
from infinite_render.rendering.compiled import (
    CompiledDetail,
    CompiledStructure,
    CompiledTexture,
    compile_detail,
    compile_generator,
)
from infinite_render.rendering.pinned import Photograph, PinnedPhotographs
from infinite_render.rendering.plan import BlockPlan, check_window
from infinite_render.rendering.styled import StyledNetworks
from infinite_render.rendering.workers import SingleThreads, choose_device, machine

Picture = NDArray[np.uint8]
_KEPT_BLOCKS = 4  # what the last few blocks that were read in part were painted from


class Scene:
    """The plane of one model and one seed.

    latents     replaces the seeded field (local edits, say)
    styles      which styles hold where; by default the latents' own, drifting as the model says
    wrap_cells  makes a cylinder: the plane repeats along x after so many cells of latents, and the
                coordinates take the nearest pace that closes on it
    precision   "float32", "bfloat16" or "auto" (bfloat16 where the processor has it)
    truncation  psi of the truncation trick, 0 .. 1; None takes the model's own
    shift_cell  (y, x) added to every cell's row and column before its coordinates are computed
    photographs lie on the plane with their own pixels; see `rendering.pinned`

    Raises UsageError for a precision, a device or a cylinder that is not to be had, or photographs
    that are none for this plane, ModelError for a model that cannot be rendered.
    """

    def __init__(
        self,
        model: Model,
        *,
        seed: int = 0,
        precision: str = "auto",
        device: str = "cpu",
        latents: LatentField | None = None,
        styles: StyleField | None = None,
        wrap_cells: int | None = None,
        truncation: float | None = None,
        shift_cell: tuple[float, float] = (0.0, 0.0),
        photographs: Sequence[Photograph] = (),
    ) -> None:
        if model.recipe.generator.padding:
            raise ModelError(
                f"model {model.name} pads its texture, so its pictures depend on the canvas; "
                "it can be trained but not rendered"
            )
        self.model = model
        self.device = choose_device(device)
        self.precision = choose_precision(precision, device)
        self.latents: LatentField = SeededLatents(seed) if latents is None else latents
        render = model.recipe.render
        own = self.latents.own_styles(StyleLaw.of(model.recipe))
        self.styles = own if styles is None else styles
        self.wrap_cells = wrap_cells
        if wrap_cells is not None:
            self.latents, self.styles = _wrapped(model, self.latents, self.styles, wrap_cells)
        self._dtype = DTYPES[self.precision]
        self.truncation = render.truncation if truncation is None else check_truncation(truncation)
        self._truncation = Truncation(model.generator.to(self.device), self.truncation)
        with SingleThreads(1) as pool:  # the folded weights, too, are the same bits for any caller
            self._structure, self._texture = pool.submit(self._compile).result()
        self._styled = None if self.styles is None else self._compile_styles(self.styles)
        self._plans: dict[int, BlockPlan] = {}
        self._steps: dict[int, CompiledDetail] = {}
        self._kept: OrderedDict[tuple[int, int, int], Coarse] = OrderedDict()
        self._lock = Lock()
        self.shift_cell = shift_cell
        self.pinned = PinnedPhotographs(photographs, self._unlaid) if photographs else None
        if self.pinned is not None:
            self.plan(self.pinned.depth)  # an error where there is no such depth
            if wrap_cells is not None:
                raise UsageError("photographs cannot be pinned on a cylinder; leave one out")

    @property
    def block_px(self) -> int:
        return self.model.recipe.render.block_px

    def wrap_px(self, depth: int) -> int | None:
        """The period of the cylinder in px of a depth; None for the endless plane."""
        self.plan(depth)  # an error where there is no such depth
        stride_px = self.model.recipe.generator.stride << depth
        return None if self.wrap_cells is None else self.wrap_cells * stride_px

    def plan(self, depth: int) -> BlockPlan:
        """The windows and costs of a block at `depth`; UsageError for a depth the model has not."""
        if depth not in self._plans:
            recipe = self.model.recipe
            self._plans[depth] = BlockPlan(recipe.generator, recipe.render, recipe.detail, depth)
        return self._plans[depth]

    def identity(self, depth: int = 0) -> dict[str, Any]:
        """Everything that can change a bit of the picture, as plain values."""
        recipe = self.model.recipe
        return {
            "model": self.model.name,
            "model_digest": self.model.digest,
            **self.latents.describe(),
            **({} if self.styles is None else {"styles": self.styles.describe()}),
            **({"shift_cell": list(self.shift_cell)} if any(self.shift_cell) else {}),
            **({} if self.pinned is None else {"photographs": self.pinned.describe()}),
            "depth": depth,
            "truncation": self.truncation,
            **({} if self.truncation == 1.0 else {"truncation_version": TRUNCATION_VERSION}),
            **({} if recipe.generator.drift == 0 else {"drift_version": DRIFT_VERSION}),
            **({} if recipe.generator.shore is None else {"lakes_version": LAKES_VERSION}),
            **({} if recipe.render.relief == 0 else {"relief_version": RELIEF_VERSION}),
            "precision": self.precision,
            "cell_px": recipe.render.cell_px,
            "piece_px": list(self.plan(depth).piece_px),
            "block_px": self.block_px,
            "device": torch.device(self.device).type,
            "machine": machine(),
            "torch": torch.__version__,
        }

    def render(
        self, y0: int, x0: int, height: int, width: int, *, depth: int = 0, workers: int = 1
    ) -> Picture:
        """The window of the plane of `depth` with first pixel (y0, x0), uint8 [height, width, 3].

        Any window of a window is that window, bit for bit, at any number of `workers`.
        Raises UsageError for an empty window, one beyond +-2^40 px, or a depth the model has not.
        """
        window = check_window(Window(y0, x0, height, width))
        picture = _blank(window)

        def paint(part: tuple[Window, tuple[slice, slice]]) -> None:
            picture[part[1]] = self.paint(part[0], depth)

        with SingleThreads(workers) as pool:
            list(pool.map(paint, self._parts(window, depth)))
        return picture

    def _parts(self, window: Window, depth: int) -> Iterator[tuple[Window, tuple[slice, slice]]]:
        """A window cut into what lies in one block each, and where each part lies in the window.

        On a cylinder the parts are those of its first turn.
        """
        period_px = self.wrap_px(depth)
        whole = (window, slice(0, window.width))
        for turned, across in [whole] if period_px is None else turns(window, period_px):
            for block in tiles_of(turned, self.block_px):
                part = block.meet(turned)
                rows, columns = part.within(turned)
                yield part, (rows, slice(across.start + columns.start, across.start + columns.stop))

    def stages(
        self, depth: int
    ) -> tuple[CompiledStructure, CompiledTexture, CompiledDetail | None]:
        """The compiled stages of `depth` in the latents' own style; the ladder's last, if any."""
        return self._structure, self._texture, self._step(depth - 1) if depth else None

    def forget(self) -> None:
        """Let go of what the last blocks were painted from; no picture changes by it."""
        with self._lock:
            self._kept.clear()

    @torch.inference_mode()
    def paint(
        self, window: Window, depth: int = 0, check: Callable[[], None] = lambda: None
    ) -> Picture:
        """A window, uint8 [h,w,3], in the calling thread, which must be one of `SingleThreads`.

        `check` is called before every cell; what it raises ends the painting.
        """
        picture = _blank(window)
        plan = self.plan(depth)
        for part, where in self._parts(window, depth):
            block_y, block_x = part.y // self.block_px, part.x // self.block_px
            coarse: Coarse | None = None
            for cell in plan.tiles(plan.block(block_y, block_x)):
                shared = cell.meet(part)
                if not (shared.height and shared.width):
                    continue
                check()
                if coarse is None:
                    in_part = part != plan.block(block_y, block_x)
                    coarse = self._coarse(block_y, block_x, plan, keep=in_part)
                painted = to_uint8(self._paint_tile(coarse, plan, depth, cell))
                picture[where][shared.within(part)] = painted[shared.within(cell)]
        return picture

    def _coarse(self, block_y: int, block_x: int, plan: BlockPlan, *, keep: bool) -> Coarse:
        """What a block's last stage reads: z_s at depth 0, RGB of the level below beyond.

        The last few are kept where asked, for the windows of neighbouring reads.
        """
        key = (plan.depth, block_y, block_x)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        coarse = self._climb(plan, plan.level_windows(block_y, block_x))
        if keep:
            with self._lock:
                self._kept[key] = coarse
                while len(self._kept) > _KEPT_BLOCKS:
                    self._kept.popitem(last=False)
        return coarse

    def _climb(self, plan: BlockPlan, windows: list[Window]) -> Coarse:
        """What the last stage reads; windows of z_s in cells, then of px of level 0 .. depth."""
        coarse = self._block_structure(plan, *windows[:2])
        for level in range(plan.depth):
            finer = windows[level + 1]
            rgb = torch.empty(3, finer.height, finer.width, device=self.device)
            for tile in plan.tiles(finer):
                rows, columns = tile.within(finer)
                rgb[:, rows, columns] = self._paint_tile(coarse, plan, level, tile)
            coarse = Coarse(rgb, finer)
        return coarse

    def _unlaid(self, window: Window, level: int) -> Tensor:
        """RGB [3,h,w] of any window of a level on which no photograph is laid yet."""
        plan = self.plan(level)
        return self._paint_alone(self._climb(plan, plan.windows_for(window)), plan, level, window)

    def _block_structure(self, plan: BlockPlan, window_cell: Window, painted_px: Window) -> Coarse:
        """z_s over a window of cells, for a window of base px."""
        config = plan.generator
        latent_window = plan.latent_window(window_cell)
        law = LocalLaw.of(config, self.truncation, self.model.generator.drift_floors)
        drawn = self.latents.z_local(latent_window, config.latent_dim, law)
        z_local = torch.from_numpy(drawn)[None].to(self.device)
        wrap = self.wrap_cells
        c = coordinates.window_grid(
            latent_window,
            cut=config.cut,
            span_cells=config.span_cells,
            period_cells=wrap or config.period_cells,
            turns=coordinates.turns_of(wrap, config.period_cells) if wrap else 1,
            shift_cell=self.shift_cell,
        ).to(self.device)
        relief = torch.from_numpy(relief_in(latent_window, self.latents.relief, self.model.recipe))
        relief = relief.to(self.device)
        lakes = self.model.generator.structure.lakes
        if lakes is None:
            land = self._run_structure(latent_window, z_local, coordinates.lifted(c, relief))
            return Coarse(land[0], window_cell)
        z_local, latent = z_local[:, :-1], z_local[:, -1:]
        land = self._run_structure(latent_window, z_local, lakes.risen(latent, c, relief))[0]
        shores = shores_in(
            painted_px, lakes, latent, c, latent_window, self._texture_noise, config.blocks
        )
        if shores is None:
            return Coarse(land, window_cell)
        of_water = window_needed(plan.texture, shores.window_px)
        read = plan.latent_window(of_water)
        rows, columns = read.within(latent_window)
        z_local, c, relief = (x[:, :, rows, columns] for x in (z_local, c, relief))
        mirrored = self._run_structure(read, z_local, lakes.mirrored(c, relief))
        return Coarse(land, window_cell, Water(lakes.features(mirrored, c)[0], of_water, shores))

    def _run_structure(self, latent_window: Window, z_local: Tensor, c: Tensor) -> Tensor:
        """z_s [1,S,h,w], channels last, of z_l and c over a window of cells, float32 [1,.,h,w]."""
        network = self._structure if self._styled is None else self._styled.structure(latent_window)
        return network(self._features(z_local), c.contiguous(memory_format=torch.channels_last))

    def _texture_noise(self, layer: int, window: Window) -> Tensor:
        """Noise float32 [1,1,h,w] of a texture layer over a window of its lattice."""
        noise = self.latents.texture_noise(layer, window)
        return torch.from_numpy(noise)[None, None].to(self.device)

    def _compile(self) -> tuple[CompiledStructure, CompiledTexture]:
        """The networks of the latents' own global latent."""
        own = torch.from_numpy(self.latents.z_global(self.model.recipe.generator.global_dim))
        z_global, w = self._truncation.latents(own[None].to(self.device))
        return compile_generator(self.model.generator, z_global[0], w[0], self._dtype)

    def _compile_styles(self, styles: StyleField) -> StyledNetworks:
        config = self.model.recipe.generator
        return StyledNetworks(
            self._truncation,
            styles,
            radius=config.structure_radius,
            dtype=self._dtype,
            device=self.device,
        )

    def _features(self, x: Tensor) -> Tensor:
        return x.to(self.device, self._dtype).contiguous(memory_format=torch.channels_last)

    def _paint_tile(self, coarse: Coarse, plan: BlockPlan, level: int, tile: Window) -> Tensor:
        """RGB float32 [3,h,w] of a piece of one level, with the photographs that lie there."""
        rgb = self._paint_alone(coarse, plan, level, tile)
        if self.pinned is not None:
            self.pinned.lay(rgb, tile, level)
        return rgb

    def _paint_alone(self, coarse: Coarse, plan: BlockPlan, level: int, tile: Window) -> Tensor:
        """What the generator paints there, from what the level's stage reads: land, then water."""
        rgb = self._run_stage(coarse.values, coarse.window, plan, level, tile)
        if coarse.water is not None:
            water = coarse.water
            part = tile.meet(water.shores.window_px)
            surface = water.shores.part(part)
            if surface.share.any():
                rows, columns = part.within(tile)
                over = self._run_stage(water.z_structure, water.window_cell, plan, level, part)
                land = rgb[:, rows, columns]
                land.copy_(laid_over(land[None], over[None], surface)[0])
        return rgb

    def _run_stage(
        self, given: Tensor, given_window: Window, plan: BlockPlan, level: int, tile: Window
    ) -> Tensor:
        """RGB float32 [3,h,w] of a piece of one level, of what its stage reads, [C,h',w']."""
        stage = plan.stage(level)
        needed = window_needed(stage, tile)
        lattices = windows_given(stage, needed)
        rows, columns = needed.within(given_window)
        given = given[:, rows, columns]

        def noise(layer: int, height: int, width: int) -> Tensor:
            window = lattices[layer + 1]
            assert window[2:] == (height, width)
            return self._texture_noise(layer, window)[0, 0]

        if level == 0:
            network = self._texture if self._styled is None else self._styled.texture(needed)
            rgb = network(self._features(given[None]), noise)
        else:
            values = self.latents.detail_noise(level - 1, needed)
            rgb = self._step(level - 1)(given, torch.from_numpy(values).to(self.device))
        rows, columns = tile.within(lattices[-1])
        return rgb[:, rows, columns]

    def _step(self, zoom: int) -> CompiledDetail:
        if zoom not in self._steps:
            detail = self.model.detail
            assert detail is not None
            self._steps[zoom] = compile_detail(detail.to(self.device), zoom, self._dtype)
        return self._steps[zoom]


def _wrapped(
    model: Model, latents: LatentField, styles: StyleField | None, wrap_cells: int
) -> tuple[LatentField, StyleField | None]:
    """The fields on a cylinder."""
    if wrap_cells < 1:
        raise UsageError(f"a cylinder of {wrap_cells} cells is none; give 1 or more")
    recipe = model.recipe
    return (
        WrappedLatents(latents, wrap_cells, recipe.generator.blocks),
        None if styles is None else styles.wrapped(wrap_cells),
    )


def _blank(window: Window) -> Picture:
    try:
        return np.empty((window.height, window.width, 3), np.uint8)
    except (MemoryError, ValueError):
        raise UsageError(
            f"{window.width} x {window.height} px do not fit into memory at once; "
            "render a smaller window, or generate a canvas"
        ) from None
