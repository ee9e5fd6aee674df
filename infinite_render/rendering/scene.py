"""A scene: one model, one seed, one precision. Its picture is a pure function on an infinite plane.

Spaces: px of the plane, int, both signs up to 2^40; block (by, bx) covers px [by B, (by + 1) B).
A cell is always computed with the same tensor shapes, alone, by one thread with one intra-op
thread: the same convolution on another shape, batch or thread count differs in its last bits.
"""

from __future__ import annotations

import platform
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infinite_render.errors import UsageError
from infinite_render.fields.latents import LatentField, SeededLatents
from infinite_render.geometry import Window, cover, window_needed, windows_given
from infinite_render.models import Model
from infinite_render.nn import coordinates
from infinite_render.rendering.compiled import compile_generator
from infinite_render.rendering.plan import PLANE_LIMIT_PX, BlockPlan

Picture = NDArray[np.uint8]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_KEPT_BLOCKS = 8  # structures kept for neighbouring region reads


def has_native_bfloat16(device: str = "cpu") -> bool:
    """Whether bfloat16 convolutions run in hardware, not by conversion, on `device`."""
    if device != "cpu":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def choose_precision(precision: str, device: str = "cpu") -> str:
    """Resolve "auto" to bfloat16 where it is native and to float32 elsewhere; check any other."""
    if precision == "auto":
        return "bfloat16" if has_native_bfloat16(device) else "float32"
    if precision not in DTYPES:
        raise UsageError(f"--precision {precision} is unknown; use auto, {' or '.join(DTYPES)}")
    return precision


def choose_device(device: str) -> str:
    """Check that `device` (cpu, cuda, cuda:N) is there; UsageError when it is not."""
    kind = device.split(":")[0]
    if kind not in ("cpu", "cuda"):
        raise UsageError(f"--device {device} is unknown; use cpu or cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {device}: this machine has no usable CUDA device; use cpu")
    return device


class SingleThreads:
    """Worker threads in which torch uses one intra-op thread; the caller's setting is put back."""

    def __init__(self, workers: int) -> None:
        self._before = torch.get_num_threads()
        self.pool = ThreadPoolExecutor(
            workers, thread_name_prefix="cell", initializer=torch.set_num_threads, initargs=(1,)
        )

    def __enter__(self) -> ThreadPoolExecutor:
        return self.pool

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self._before)


class Scene:
    """The plane of one model and one seed.

    `latents` replaces the seeded field (a pinned photograph, say). `precision` is "float32",
    "bfloat16" or "auto" (bfloat16 where the processor has it).
    Raises UsageError for a precision or a device that is not to be had.
    """

    def __init__(
        self,
        model: Model,
        *,
        seed: int = 0,
        precision: str = "auto",
        device: str = "cpu",
        latents: LatentField | None = None,
    ) -> None:
        self.model = model
        self.device = choose_device(device)
        self.precision = choose_precision(precision, device)
        self.latents: LatentField = SeededLatents(seed) if latents is None else latents
        self.plan = BlockPlan(model.recipe.generator, model.recipe.render)
        z_global = torch.from_numpy(self.latents.z_global(model.recipe.generator.global_dim))
        structure, texture = compile_generator(
            model.generator.to(self.device), z_global.to(self.device), DTYPES[self.precision]
        )
        self._structure, self._texture = structure, texture
        self._kept: OrderedDict[tuple[int, int], Tensor] = OrderedDict()
        self._lock = Lock()

    @property
    def block_px(self) -> int:
        return self.plan.render.block_px

    def identity(self) -> dict[str, Any]:
        """Everything that can change a bit of the picture, as plain values."""
        return {
            "model": self.model.name,
            "model_digest": self.model.digest,
            **self.latents.describe(),
            "precision": self.precision,
            "cell_px": self.plan.render.cell_px,
            "block_px": self.block_px,
            "device": torch.device(self.device).type,
            "machine": platform.machine(),
            "torch": torch.__version__,
        }

    def render(self, y0: int, x0: int, height: int, width: int, *, workers: int = 1) -> Picture:
        """The window whose first pixel is (y0, x0), uint8 [height, width, 3].

        Any window of a window is that window, bit for bit, at any number of `workers`.
        Raises UsageError for an empty window or one beyond +-2^40 px.
        """
        window = Window(y0, x0, height, width)
        check_window(window)
        picture = np.empty((height, width, 3), np.uint8)
        size = self.block_px

        def paint(block: tuple[int, int]) -> None:
            part = window.meet(Window(block[0] * size, block[1] * size, size, size))
            picture[part.within(window)] = self.render_in_block(*block, part)

        blocks = [(y, x) for y in cover(window.y_span, size) for x in cover(window.x_span, size)]
        with SingleThreads(workers) as pool:
            list(pool.map(paint, blocks))
        return picture

    @torch.inference_mode()
    def render_in_block(self, block_y: int, block_x: int, part: Window) -> Picture:
        """A window inside one block, uint8 [h, w, 3]; call it from a thread of `SingleThreads`."""
        picture = np.empty((part.height, part.width, 3), np.uint8)
        z_structure: Tensor | None = None
        whole = self.plan.structure_window(block_y, block_x)
        for cell in self.plan.cells(block_y, block_x):
            shared = cell.meet(part)
            if not (shared.height and shared.width):
                continue
            if z_structure is None:
                z_structure = self._block_structure(block_y, block_x, whole)
            needed = window_needed(self.plan.texture, cell)
            rows, columns = needed.within(whole)
            painted = self._paint_cell(z_structure[:, :, rows, columns], needed, cell)
            picture[shared.within(part)] = painted[shared.within(cell)]
        return picture

    def _block_structure(self, block_y: int, block_x: int, window_cell: Window) -> Tensor:
        """z_s of a block and its margin, [1,S,h,w]; the last few are kept."""
        key = (block_y, block_x)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        latent_window = self.plan.latent_window(window_cell)
        config, dtype = self.plan.generator, DTYPES[self.precision]
        z_local = self.latents.z_local(latent_window, config.local_dim)
        c = coordinates.window_grid(
            latent_window,
            cut=config.cut,
            span_cells=config.patch_cells + config.start_rows - 1,
            period_cells=config.period_cells,
        )
        z_structure = self._structure(
            self._on_device(torch.from_numpy(z_local)[None], dtype), self._on_device(c, dtype)
        )
        with self._lock:
            self._kept[key] = z_structure
            while len(self._kept) > _KEPT_BLOCKS:
                self._kept.popitem(last=False)
        return z_structure

    def _on_device(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        return x.to(self.device, dtype).contiguous(memory_format=torch.channels_last)

    def _paint_cell(self, z_structure: Tensor, needed: Window, cell: Window) -> Picture:
        """z_s [1,S,h,w] over `needed` cells -> the pixels of `cell`, uint8 [h,w,3]."""
        lattices = windows_given(self.plan.texture, needed)

        def noise(layer: int, height: int, width: int) -> Tensor:
            window = lattices[layer + 1]
            assert window[2:] == (height, width)
            return torch.from_numpy(self.latents.texture_noise(layer, window)).to(self.device)

        rgb = self._texture(z_structure.contiguous(memory_format=torch.channels_last), noise)
        rows, columns = cell.within(lattices[-1])
        return to_uint8(rgb[:, rows, columns])


def to_uint8(rgb: Tensor) -> Picture:
    """RGB float32 [3,h,w] in [-1, 1], clipped -> uint8 [h,w,3], rounded half to even."""
    grey = rgb.clamp(-1, 1).add_(1).mul_(127.5).round_().to(torch.uint8)
    return grey.permute(1, 2, 0).contiguous().cpu().numpy()


def check_window(window: Window) -> None:
    """UsageError for an empty window or one that leaves the plane's +-2^40 px."""
    if window.height < 1 or window.width < 1:
        raise UsageError(
            f"a window of {window.width} x {window.height} px is empty; sizes must be 1 or more"
        )
    corners = (*window.y_span, *window.x_span)
    if max(map(abs, corners)) > PLANE_LIMIT_PX:
        raise UsageError(
            f"the window from {window.y},{window.x} of {window.width} x {window.height} px leaves "
            f"the plane; every pixel must lie within +-{PLANE_LIMIT_PX}"
        )
