"""A photograph -> its pin: the whole way, as an iterator that tells how far it has come.

Spaces, all (y, x): px of the plane of depth d, on which the photograph has its own pixels; base px
of depth 0, on which it is inverted; cells of latents.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from infinite_render.errors import DataError, ModelError, UsageError
from infinite_render.fields.pins import Pin
from infinite_render.geometry import pieces
from infinite_render.inversion.base import (
    check_photograph,
    choose_depth,
    horizon_shift,
    to_base,
)
from infinite_render.inversion.begun import Begun, load_begun, save_begun
from infinite_render.inversion.eyes import guess_shift, open_eyes
from infinite_render.inversion.latents import Latents, Painter, windows_of
from infinite_render.inversion.search import PIECE_PX, Descent, Sight, StyleSearch, first_style
from infinite_render.models import Model
from infinite_render.pixels import Pixels, pixels_sha256, to_uint8
from infinite_render.precision import DTYPES, choose_precision
from infinite_render.rendering.plan import check_depth
from infinite_render.rendering.workers import SingleThreads
from infinite_render.training.events import Notice

STEPS = 600
STYLE_SHARE = 0.12  # of the steps, which look for the style alone
INTERVAL = 25  # steps between two reports

T = TypeVar("T")


@dataclass(frozen=True)
class InversionProgress:
    """Where an inversion stands.

    loss      of the last step; in the first steps, which look for a style, it has other terms
    psnr_db   of the repainted photograph at base scale, against the shrunk one
    preview   the repainted photograph at base scale, uint8 [h,w,3]
    pin       what has been found so far: whoever stops here has it
    """

    step: int
    steps: int
    seconds: float
    loss: float
    psnr_db: float
    preview: NDArray[np.uint8]
    pin: Pin


def invert(
    model: Model,
    photograph: Pixels,
    *,
    place_px: tuple[int, int] = (0, 0),
    depth: int | None = None,
    shift_cell: tuple[float, float] | None = None,
    horizon_px: float | None = None,
    steps: int = STEPS,
    time_limit_s: float | None = None,
    interval: int = INTERVAL,
    seed: int = 0,
    precision: str = "auto",
    kept: Path | None = None,
) -> Iterator[Notice | InversionProgress | Pin]:
    """Find the latents from which `model` repaints a photograph; the last thing yielded is the Pin.

    photograph    uint8 [H,W,3], on the plane of `depth` with its first pixel at `place_px`
    depth         by default the one at which its height is nearest to what training showed
    shift_cell    (y, x) which row and column of the trained plane cell (0, 0) stands for; by
                  default the row follows from `horizon_px` (of the horizon, from the photograph's
                  top), or from what the model's discriminator sees, and the column is free
    time_limit_s  ends the descent in time, with what then is its best
    kept          a file that holds the state at every report: the same inversion, stopped at
                  whatever moment, goes on from there, without a time limit to the same bits.
                  Whoever has the pin removes it

    Follows from its arguments and the machine alone, bit for bit, unless a time limit cuts it
    short. Each InversionProgress carries the pin as it is then: to stop early, close the iterator
    and keep the last one. Memory is that of a piece of the photograph at base scale.

    Raises UsageError for a photograph, a depth or a number of steps that cannot be, ModelError for
    a model that is never rendered.
    """
    _check(model, depth, steps, interval, time_limit_s)
    depth = choose_depth(model.recipe, photograph.shape[0]) if depth is None else depth
    check_photograph(photograph, depth)
    target, base = to_base(photograph, place_px, depth)
    dtype = DTYPES[choose_precision(precision)]
    config = model.recipe.generator

    eyes = open_eyes(model.folder, dtype)
    for text in eyes.notices:
        yield Notice(text)
    if shift_cell is not None:
        shift = shift_cell
    elif horizon_px is not None:
        shift = horizon_shift(config, (place_px[0] + horizon_px) / (1 << depth)), 0.0
    else:
        shift = _alone(lambda: guess_shift(eyes.critic, config, target, base)), 0.0
    painter = Painter(model.generator, config, windows_of(config, base), shift, dtype)
    found = Pin(
        model_digest=model.digest,
        depth=depth,
        size_px=(photograph.shape[0], photograph.shape[1]),
        place_px=(int(place_px[0]), int(place_px[1])),
        shift_cell=shift,
        z_global=np.empty(0, np.float32),
        styles=np.empty(0, np.float32),
        z_local=np.empty(0, np.float32),
        z_window=painter.whole.latents,
        noise=(),
        noise_windows=painter.whole.noise,
        photograph_sha256=pixels_sha256(photograph),
    )
    any_column = shift_cell is None
    search = _Search(Sight(painter, target, base, eyes), steps, time_limit_s, seed, any_column)
    sees = eyes.features is not None, eyes.critic is not None
    free = any_column, time_limit_s is None
    question = f"{found.digest} {steps} {seed} {dtype} {sees} {free}"
    yield from _searched(search, found, interval, kept, question)


def _searched(
    search: _Search, found: Pin, interval: int, kept: Path | None, question: str
) -> Iterator[Notice | InversionProgress | Pin]:
    """The search to its end, from its beginning or from where `kept` holds it; last the Pin."""
    begun = None
    if kept is not None:
        try:
            begun = load_begun(kept, question)
        except DataError as error:
            yield Notice(f"{error}; the inversion begins anew")
    if begun is not None:
        search.restore(begun)
        yield Notice(f"resumed at step {search.step} of {search.steps}")
    else:
        _alone(search.begin)
    while True:
        _alone(lambda: search.advance(interval))
        pin, psnr_db, preview = _alone(lambda: search.show(found))
        if kept is not None:
            save_begun(kept, search.state(), question)
        yield InversionProgress(
            search.step, search.steps, search.seconds, search.loss, psnr_db, preview, pin
        )
        if search.done:
            break
    yield pin


def _alone(work: Callable[[], T]) -> T:
    """Done in a thread of its own in which torch uses one intra-op thread, for the same bits."""
    with SingleThreads(1) as pool:
        return pool.submit(work).result()


class _Search:
    """The style's search, then the descent: `step` of `steps` done, with `loss` at the last."""

    def __init__(
        self, sight: Sight, steps: int, time_limit_s: float | None, seed: int, any_column: bool
    ) -> None:
        self.sight, self.steps, self.limit_s = sight, steps, time_limit_s
        self.any_column = any_column
        self.numbers = torch.Generator().manual_seed(seed)
        self.started = time.monotonic()
        self.step, self.loss = 0, math.nan
        self._style: StyleSearch | None = None
        self._descent: Descent | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def share(self) -> float:
        """How much of the search is over, by its steps or by its time."""
        by_time = 0.0 if self.limit_s is None else self.seconds / self.limit_s
        return max(self.step / self.steps, by_time)

    @property
    def done(self) -> bool:
        return self.share >= 1 and self.step > 0

    @property
    def latents(self) -> Latents:
        if self._descent is not None:
            return self._descent.latents
        assert self._style is not None
        return self._style.latents

    def begin(self) -> None:
        latents, painter = first_style(self.sight, self.numbers, any_column=self.any_column)
        self.sight = replace(self.sight, painter=painter)
        self._style = StyleSearch(self.sight, latents, self.numbers)

    def state(self) -> Begun:
        """Where it stands: all that `restore` needs."""
        phase = self._descent or self._style
        assert phase is not None
        tensors = {"numbers": self.numbers.get_state(), **phase.state()}
        shift_cell = self.sight.painter.shift_cell
        values = {"step": self.step, "loss": self.loss, "seconds": self.seconds}
        return Begun(tensors, {**values, "shift_cell": shift_cell})

    def restore(self, begun: Begun) -> None:
        """Instead of `begin`: go on from what `state` gave."""
        tensors, values = begun
        self.numbers.set_state(tensors["numbers"])
        y_cell, x_cell = values["shift_cell"]
        painter = replace(self.sight.painter, shift_cell=(y_cell, x_cell))
        self.sight = replace(self.sight, painter=painter)
        if "taken" in tensors:
            self._descent = Descent.restored(self.sight, tensors, self.numbers)
        else:
            self._style = StyleSearch.restored(self.sight, tensors, self.numbers)
        self.step, self.loss = values["step"], values["loss"]
        self.started = time.monotonic() - values["seconds"]

    def advance(self, steps: int) -> None:
        """So many steps, or as many as are left; one at least."""
        for _ in range(steps):
            share = self.share
            if self.done:
                return
            if self._descent is None and share < STYLE_SHARE:
                assert self._style is not None
                self.loss = self._style.step()
            else:
                if self._descent is None:
                    assert self._style is not None
                    self._descent = Descent(self.sight, self._style.latents, self.numbers)
                descended = (share - STYLE_SHARE) / (1 - STYLE_SHARE)
                self.loss = self._descent.step(min(1.0, descended))
            self.step += 1

    @torch.no_grad()
    def show(self, found: Pin) -> tuple[Pin, float, NDArray[np.uint8]]:
        """The pin so far, its PSNR in dB, and its picture uint8 [h,w,3], all at base scale."""
        sight, latents = self.sight, self.latents
        preview = np.empty((*sight.base[2:], 3), np.uint8)
        squares = 0.0
        for part in pieces(sight.base, PIECE_PX):
            rgb = sight.painter.paint(latents, part).clamp(-1, 1)
            where = part.within(sight.base)
            squares += float((rgb - sight.target[:, *where]).double().square().sum())
            preview[where] = to_uint8(rgb)
        error = max(squares / sight.target.numel(), 1e-10)
        return self._pin(found), 10 * math.log10(4 / error), preview  # a range of 2, squared

    def _pin(self, found: Pin) -> Pin:
        latents, painter = self.latents, self.sight.painter
        return replace(
            found,
            shift_cell=painter.shift_cell,
            z_global=_array(latents.z_global),
            styles=_array(painter.style(latents)),
            z_local=_array(painter.z_local(latents)),
            noise=tuple(_array(values) for values in latents.noise),
        )


def _array(values: Tensor) -> NDArray[np.float32]:
    return values.detach().float().numpy().copy()


def _check(
    model: Model, depth: int | None, steps: int, interval: int, time_limit_s: float | None
) -> None:
    if model.recipe.generator.padding:
        raise ModelError(
            f"model {model.name} pads its texture and is never rendered; invert with another"
        )
    if depth is not None:
        recipe = model.recipe
        check_depth(recipe.generator, recipe.render, recipe.detail, depth)
    if steps < 1 or interval < 1:
        raise UsageError(f"{steps} steps, reported every {interval}: give 1 or more of both")
    if time_limit_s is not None and not 0 < time_limit_s < math.inf:
        raise UsageError(f"a time limit of {time_limit_s} s is none; give more than 0 s")
