"""Pins: what repaints a photograph, as a field over another field, and as a small file.

An inversion (`inversion/`) finds the latents from which a model paints a given photograph. A pin
keeps them with their windows, so that they can be laid over any seed's latents, at any place that
keeps to the lattice, without another inversion.

Spaces, all (y, x):
    px      of the plane of a pin's own depth, at which the photograph has its own pixels
    cell    z_l; one cell is `stride` px of depth 0 and stride << depth px of the pin's depth
    lattice the noise of a texture layer: 2, 2, 4, 4, 8, 8, ... points to a cell
Shapes: z_global [D]; styles [n_styles,D]; z_local [L,h,w]; noise [h,w] a layer; all float32.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from infinite_render.errors import DataError
from infinite_render.fields.drifting_styles import StyleLaw
from infinite_render.fields.latents import LatentField, points_of
from infinite_render.fields.local import ALONE, LocalLaw
from infinite_render.fields.styles import StyleField
from infinite_render.files import replace_file
from infinite_render.geometry import Window
from infinite_render.noise import Array

PIN_VERSION = 1


@dataclass(frozen=True, eq=False)
class Pin:
    """What repaints a photograph: latents over a window of cells, with styles and noise of its own.

    model_digest   of the model that it was inverted with, and that alone repaints it
    depth          of the plane at which the photograph has its own pixels
    size_px        (height, width) of the photograph, px of that depth
    place_px       (y, x) of its first pixel on the plane of `depth`
    shift_cell     (y, x) added to a cell's row and column before its coordinates are computed:
                   which row and column of the trained plane cell (0, 0) stands for
    z_global       [D], modulates the structure; styles [n_styles,D], w of every texture layer
    z_local        [L,h,w] over `z_window` (cells): all that the photograph's window reads
    noise          [h,w] of each texture layer over `noise_windows` (points of its own lattice)
    photograph_sha256   of the photograph's pixels, in hex; '' where nobody has told
    """

    model_digest: str
    depth: int
    size_px: tuple[int, int]
    place_px: tuple[int, int]
    shift_cell: tuple[float, float]
    z_global: Array
    styles: Array
    z_local: Array
    z_window: Window
    noise: tuple[Array, ...]
    noise_windows: tuple[Window, ...]
    photograph_sha256: str = ""

    @property
    def cell_px(self) -> int:
        """Pixels of the pin's own depth to a cell: places differ by multiples of it."""
        return 1 << len(self.noise) // 2 + self.depth

    @property
    def window_px(self) -> Window:
        """Where the photograph lies on the plane of its depth."""
        return Window(*self.place_px, *self.size_px)

    def moved(self, by_cells: tuple[int, int]) -> Self:
        """The same picture elsewhere: every window, and the coordinates with it, moved."""
        dy, dx = by_cells
        return replace(
            self,
            place_px=(self.place_px[0] + dy * self.cell_px, self.place_px[1] + dx * self.cell_px),
            shift_cell=(self.shift_cell[0] - dy, self.shift_cell[1] - dx),
            z_window=_moved(self.z_window, dy, dx),
            noise_windows=tuple(
                _moved(window, dy * points_of(layer), dx * points_of(layer))
                for layer, window in enumerate(self.noise_windows)
            ),
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex of everything in the pin."""
        digest = hashlib.sha256(json.dumps(self._header(), sort_keys=True).encode())
        for name, values in sorted(self._arrays().items()):
            digest.update(f"\n{name} {values.shape}\n".encode())
            digest.update(np.ascontiguousarray(values, "<f4").tobytes())
        return digest.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Plain values that tell this pin from every other, and where it lies."""
        header = self._header()
        kept = ("depth", "size_px", "place_px", "shift_cell")
        return {"digest": self.digest, **{key: header[key] for key in kept}}

    def _header(self) -> dict[str, Any]:
        return {
            "version": PIN_VERSION,
            "model_digest": self.model_digest,
            "depth": self.depth,
            "size_px": list(self.size_px),
            "place_px": list(self.place_px),
            "shift_cell": list(self.shift_cell),
            "z_window": list(self.z_window),
            "noise_windows": [list(window) for window in self.noise_windows],
            "photograph_sha256": self.photograph_sha256,
        }

    def _arrays(self) -> dict[str, Array]:
        noise = {f"noise.{layer}": values for layer, values in enumerate(self.noise)}
        own = {"z_global": self.z_global, "styles": self.styles, "z_local": self.z_local}
        return own | noise


def _moved(window: Window, dy: int, dx: int) -> Window:
    return window._replace(y=window.y + dy, x=window.x + dx)


def save_pin(path: Path, pin: Pin) -> None:
    """Write a pin as safetensors, its plain values as JSON in the metadata; whole or not at all."""
    metadata = {"infrender_pin": json.dumps(pin._header())}
    arrays = {name: np.ascontiguousarray(a, np.float32) for name, a in pin._arrays().items()}
    replace_file(path, lambda target: save_file(arrays, target, metadata))


def load_pin(path: Path) -> Pin:
    """Read a pin; DataError for a file that is missing, damaged or no pin."""
    if not path.is_file():
        raise DataError(f"{path} does not exist; give a .pin file that an inversion has written")
    try:
        with safe_open(path, "numpy") as file:
            header = json.loads((file.metadata() or {})["infrender_pin"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _pin(header, arrays)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path} is damaged or no pin of ours ({reason}); invert again") from None


def _pin(header: dict[str, Any], arrays: dict[str, Array]) -> Pin:
    """A pin from what a file holds; ValueError where its parts do not fit one another."""
    if header["version"] != PIN_VERSION:
        raise ValueError(f"version {header['version']}, this program reads {PIN_VERSION}")
    windows = tuple(Window(*map(int, window)) for window in header["noise_windows"])
    pin = Pin(
        model_digest=str(header["model_digest"]),
        depth=int(header["depth"]),
        size_px=_pair(header["size_px"], int),
        place_px=_pair(header["place_px"], int),
        shift_cell=_pair(header["shift_cell"], float),
        z_global=arrays["z_global"],
        styles=arrays["styles"],
        z_local=arrays["z_local"],
        z_window=Window(*map(int, header["z_window"])),
        noise=tuple(arrays[f"noise.{layer}"] for layer in range(len(windows))),
        noise_windows=windows,
        photograph_sha256=str(header["photograph_sha256"]),
    )
    shapes = [(pin.z_local.shape[1:], pin.z_window)]
    shapes += [(a.shape, window) for a, window in zip(pin.noise, windows, strict=True)]
    if any(tuple(shape) != tuple(window[2:]) for shape, window in shapes):
        raise ValueError("its arrays do not fit their windows")
    dims = [a.ndim for a in (pin.z_global, pin.styles, pin.z_local)]
    if dims != [1, 2, 3] or pin.styles.shape[1:] != pin.z_global.shape or not pin.noise:
        raise ValueError("its arrays have shapes that no pin has")
    for name, values in arrays.items():
        if values.dtype != np.float32 or not np.isfinite(values).all():
            raise ValueError(f"{name} is not of finite float32 numbers")
    return pin


def _pair(values: Sequence[Any], kind: type) -> tuple[Any, Any]:
    y, x = values
    return kind(y), kind(x)


@dataclass(frozen=True)
class PinnedLatents:
    """`inner` with the latents of pins over it; where windows overlap, the later pin holds.

    z_global is the first pin's, so that the plane around a photograph is painted in its style.
    """

    inner: LatentField
    pins: tuple[Pin, ...]

    def z_global(self, dim: int) -> Array:
        return self.pins[0].z_global if self.pins else self.inner.z_global(dim)

    def own_styles(self, law: StyleLaw) -> StyleField | None:
        return None if self.pins else self.inner.own_styles(law)

    def z_local(self, window_cell: Window, dim: int, law: LocalLaw = ALONE) -> Array:
        z_local = self.inner.z_local(window_cell, dim, law)
        for pin in self.pins:
            _lay(z_local, window_cell, pin.z_local, pin.z_window)
        return z_local

    def relief(self, window_cell: Window, wrap_cells: int | None = None) -> Array:
        relief = self.inner.relief(window_cell, wrap_cells)
        for pin in self.pins:  # an inversion found its latents on level rows
            _lay(relief, window_cell, np.zeros(pin.z_window[2:], np.float32), pin.z_window)
        return relief

    def texture_noise(self, layer: int, window: Window) -> Array:
        noise = self.inner.texture_noise(layer, window)
        for pin in self.pins:
            _lay(noise, window, pin.noise[layer], pin.noise_windows[layer])
        return noise

    def detail_noise(self, step: int, window: Window) -> Array:
        return self.inner.detail_noise(step, window)

    def describe(self) -> dict[str, Any]:
        return {**self.inner.describe(), "pins": [pin.describe() for pin in self.pins]}


def _lay(values: Array, window: Window, pinned: Array, pinned_window: Window) -> None:
    """Copy into `values`, over the last two axes, what the pinned window shares with its own."""
    shared = pinned_window.meet(window)
    if shared.height and shared.width:
        values[..., *shared.within(window)] = pinned[..., *shared.within(pinned_window)]
