"""The two things an inversion does: find a style, then the local latents, by descent.

The style first, and against fresh local latents at every step: what the photograph's rows have in
common, sky above and ground below, must come from the style alone, or the plane beside it would not
be of its colours. Then everything, so that the photograph itself is repainted.

Local latents move where the photograph can see them: whole steps under it, fading out over the
margin that only the outermost pixels read. There a seed's own draws stay, nearly as they are, and
what is painted from them looks like the model's.

Shapes: RGB [3,h,w] in about [-1, 1] on base px; latents as in `latents`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from infinite_render.geometry import Span, Window, pieces, texture_stage, window_needed
from infinite_render.inversion import losses
from infinite_render.inversion.eyes import Eyes, feature_likeness, integer, row_likeness
from infinite_render.inversion.latents import Latents, Painter, random_latents, windows_of
from infinite_render.training.state import adam_tensors, load_adam, under

CANDIDATES = 32  # styles, and places along the period, of which the nearest is taken
STRIP_PX = 160  # width of what is painted at once to compare rows
PIECE_PX = 192  # the photograph is painted in pieces of about this size: bounded memory
WANDER_CELLS = 40  # how far along the plane the style is tried
FADE_CELLS = 2.0  # how fast local latents cease to move beyond the photograph
STYLE_EVERY = 5  # steps between two that compare rows, once the style is found

STYLE_RATES = (0.05, 0.02)  # of z_global and w, while the style is looked for
RATES = (0.02, 0.02, 0.3, 0.1)  # of z_global, w, z_local and noise, at most
RAMP_UP, HOLD = 0.05, 0.3  # shares of the descent: the rate has risen, begins to fall
LEAST_RATE = 0.02  # of the highest
PERTURB, PERTURBED = 0.2, 0.8  # deviation of noise on the latents; share at which it has ended

W_VARIANCE = 0.29  # of w over seeds, about; the unit of how far it may leave the mapped z_global


@dataclass(frozen=True)
class Weights:
    """Of the terms of the objective; that of the pixels is 1."""

    features: float = 0.5
    rows: float = 0.5
    prior: float = 0.1  # on z_local and noise
    globals: float = 0.1  # on z_global and on w's distance from it


@dataclass(frozen=True)
class Sight:
    """A photograph, how it is painted, and what it is compared with.

    target [3,h,w] lies at the window `base` of base px.
    """

    painter: Painter
    target: Tensor
    base: Window
    eyes: Eyes
    weights: Weights = Weights()

    def rows(self, latents: Latents, numbers: torch.Generator, *, wander: bool) -> Tensor:
        """How unlike the photograph's rows this style paints, from fresh local latents."""
        width = min(self.base.width, STRIP_PX)
        x = integer(self.base.width - width + 1, numbers)
        part = Window(self.base.y, self.base.x + x, self.base.height, width)
        painter = replace(self.painter, whole=windows_of(self.painter.config, part))
        if wander:
            y_cell, x_cell = painter.shift_cell
            x_cell += integer(2 * WANDER_CELLS + 1, numbers) - WANDER_CELLS
            painter = replace(painter, shift_cell=(y_cell, x_cell))
        fresh = random_latents(painter.config, painter.whole, numbers)
        fresh.z_global, fresh.w_offset = latents.z_global, latents.w_offset
        painted, target = painter.paint(fresh, part), self.target[:, :, x : x + width]
        total = losses.rows_distance(painted, target) + losses.overshoot(painted)
        if self.eyes.features is not None:
            total = total + row_likeness(self.eyes.features, painted, target)
        return total

    def globals(self, latents: Latents) -> Tensor:
        """The prior on z_global, and on w's distance from it."""
        apart = latents.w_offset.square().mean() / W_VARIANCE
        return losses.global_prior(latents.z_global) + apart

    def locals(self, latents: Latents) -> Tensor:
        """The prior on local latents and noise."""
        return losses.local_prior(latents.z_local) + losses.noise_prior(latents.noise)


def first_style(
    sight: Sight, numbers: torch.Generator, *, any_column: bool
) -> tuple[Latents, Painter]:
    """The candidate whose rows are most like the photograph's, and its place along the period."""
    painter, config = sight.painter, sight.painter.config
    found: list[tuple[float, Latents, Painter]] = []
    with torch.no_grad():
        for _ in range(CANDIDATES):
            latents = random_latents(config, painter.whole, numbers)
            if any_column:
                column = float(integer(config.period_cells, numbers))
                painter = replace(painter, shift_cell=(painter.shift_cell[0], column))
            there = replace(sight, painter=painter)
            found.append((float(there.rows(latents, numbers, wander=False)), latents, painter))
    _, latents, painter = min(found, key=lambda candidate: candidate[0])
    return latents, painter


class StyleSearch:
    """Descends on z_global and w, which must do for any local latents."""

    def __init__(self, sight: Sight, latents: Latents, numbers: torch.Generator) -> None:
        self.sight, self.latents, self.numbers = sight, latents, numbers
        learnt = (latents.z_global, latents.w_offset)
        groups = [_group(value, rate) for value, rate in zip(learnt, STYLE_RATES, strict=True)]
        self.adam = torch.optim.Adam(groups, betas=(0.9, 0.99))

    def step(self) -> float:
        """One step; returns the loss."""
        sight, latents = self.sight, self.latents
        rows = sight.rows(latents, self.numbers, wander=True)
        loss = rows + sight.weights.globals * sight.globals(latents)
        _descend(self.adam, loss)
        return float(loss.detach())

    def state(self) -> dict[str, Tensor]:
        """Every tensor that changes, by name."""
        return _named("style", self.latents) | adam_tensors(self.adam, "adam")

    @classmethod
    def restored(
        cls, sight: Sight, state: Mapping[str, Tensor], numbers: torch.Generator
    ) -> StyleSearch:
        """From what `state` gave."""
        search = cls(sight, _latents("style", state), numbers)
        load_adam(search.adam, state, "adam")
        return search


class Descent:
    """Descends on everything, from a style that was found."""

    def __init__(self, sight: Sight, latents: Latents, numbers: torch.Generator) -> None:
        self.sight, self.numbers = sight, numbers
        self.start = latents.copy()
        self.reach = reach_of(sight.painter, sight.base)
        self.learnt = self.start.copy()
        self.learnt.z_local.zero_()  # what is added to the start, where the photograph sees it
        globals_ = [self.learnt.z_global, self.learnt.w_offset]
        groups = [_group(v, r) for v, r in zip(globals_, RATES[:2], strict=True)]
        groups += [_group(self.learnt.z_local, RATES[2]), _group(self.learnt.noise, RATES[3])]
        self.adam = torch.optim.Adam(groups, betas=(0.9, 0.99))
        self.taken = 0

    @property
    def latents(self) -> Latents:
        """Where the descent has come to; gradients reach what is learnt."""
        return replace(self.learnt, z_local=self.start.z_local + self.reach * self.learnt.z_local)

    def step(self, share: float) -> float:
        """One step at `share` (0 .. 1) of the whole descent; returns the loss."""
        sight, weights = self.sight, self.sight.weights
        for group, rate in zip(self.adam.param_groups, RATES, strict=True):
            group["lr"] = rate * ramp(share)
        latents = self.latents
        loss = weights.prior * sight.locals(latents) + weights.globals * sight.globals(latents)
        if self.taken % STYLE_EVERY == 0:
            rows = sight.rows(latents, self.numbers, wander=True)
            loss = loss + STYLE_EVERY * weights.rows * rows
        self.adam.zero_grad(set_to_none=True)
        total = float(loss.detach())
        loss.backward()  # type: ignore[no-untyped-call]
        for term in self._likeness(share):
            total += float(term.detach())
            term.backward()  # type: ignore[no-untyped-call]
        self.adam.step()
        self.taken += 1
        return total

    def state(self) -> dict[str, Tensor]:
        """Every tensor that changes, by name, and the start."""
        latents = _named("start", self.start) | _named("learnt", self.learnt)
        return latents | adam_tensors(self.adam, "adam") | {"taken": torch.tensor(self.taken)}

    @classmethod
    def restored(
        cls, sight: Sight, state: Mapping[str, Tensor], numbers: torch.Generator
    ) -> Descent:
        """From what `state` gave."""
        descent = cls(sight, _latents("start", state), numbers)
        learnt = _latents("learnt", state)
        with torch.no_grad():
            for own, kept in zip(descent.learnt.tensors(), learnt.tensors(), strict=True):
                own.copy_(kept)
        load_adam(descent.adam, state, "adam")
        descent.taken = int(state["taken"])
        return descent

    def _likeness(self, share: float) -> Iterator[Tensor]:
        """The terms of likeness, each with a graph of its own: a piece of the photograph each."""
        sight = self.sight
        parts = list(pieces(sight.base, PIECE_PX))
        looked_at = integer(len(parts), self.numbers)
        latents = self.latents
        deviation = PERTURB * max(0.0, 1 - share / PERTURBED) ** 2
        shaken = [
            deviation * torch.randn(values.shape, generator=self.numbers)
            for values in (latents.z_global, latents.z_local)
        ]
        for number, part in enumerate(parts):
            latents = self.latents
            latents.z_global = latents.z_global + shaken[0]
            latents.z_local = latents.z_local + shaken[1]
            painted = sight.painter.paint(latents, part)
            target = sight.target[:, *part.within(sight.base)]
            area = part.height * part.width / (sight.base.height * sight.base.width)
            term = area * losses.pixels(painted, target)
            if sight.eyes.features is not None and number == looked_at:
                term = term + sight.weights.features * feature_likeness(
                    sight.eyes.features, painted, target, self.numbers
                )
            yield term


def ramp(share: float) -> float:
    """The rate at a share of the descent: up, a plateau, then down by a cosine.

    >>> [round(ramp(share), 2) for share in (0, 0.05, 0.3, 0.65, 1)]
    [0.02, 1.0, 1.0, 0.5, 0.02]
    """
    down = 0.5 * (1 + math.cos(math.pi * max(0.0, share - HOLD) / (1 - HOLD)))
    return max(LEAST_RATE, min(1.0, share / RAMP_UP) * down)


def reach_of(painter: Painter, base: Window) -> Tensor:
    """How far each cell's latents may move, [h,w]: 1 under the photograph, fading out beyond."""
    under = window_needed(texture_stage(painter.config.blocks), base)
    whole = painter.whole.latents
    spans = zip((under.y_span, under.x_span), (whole.y_span, whole.x_span), strict=True)
    down, along = (_distance(inner, outer) for inner, outer in spans)
    distance = torch.maximum(down[:, None], along[None])
    return torch.exp(-(distance / FADE_CELLS).square())


def _distance(inner: Span, outer: Span) -> Tensor:
    """Of each index of `outer` from `inner`, in cells."""
    index = torch.arange(outer.start, outer.stop)
    beyond = torch.maximum(inner.start - index, index - (inner.stop - 1))
    return beyond.clamp_min(0).float()


def _group(learnt: Tensor | list[Tensor], rate: float) -> dict[str, object]:
    tensors = learnt if isinstance(learnt, list) else [learnt]
    return {"params": [tensor.requires_grad_(True) for tensor in tensors], "lr": rate}


def _named(prefix: str, latents: Latents) -> dict[str, Tensor]:
    tensors = latents.tensors()
    return {f"{prefix}.{number}": values.detach() for number, values in enumerate(tensors)}


def _latents(prefix: str, state: Mapping[str, Tensor]) -> Latents:
    tensors = under(state, prefix)
    return Latents.from_tensors([tensors[str(number)] for number in range(len(tensors))])


def _descend(adam: torch.optim.Adam, loss: Tensor) -> None:
    adam.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    adam.step()
