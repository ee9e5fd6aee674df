"""One training step of the detail ladder.

    patch of level d + 1 --halve--> given --step, zoom d--> painted, judged against the patch
                                                    `--> painted again, at zoom d + 1 and d + 2

The scene needs no loss: a step keeps the low-pass of what it is given by its making. At first it
learns what follows from its input, without noise or critic; then all the terms:
    crps    pixels, as a distribution: E|X - y| - spread E|X - X'| / 2 over two draws of the noise.
            With spread 1 it is the continuous ranked probability score (Gneiting & Raftery, JASA
            2007), least when each pixel varies as far as photographs do; but it sees one pixel at a
            time, and edges fray. Less spread leaves more of the variety to the critic
    critic, judge    hinge, summed over heads; what has no photograph of its own (further zooms,
            pictures of the base model) is judged only
Shapes: rgb float32 [N,3,h,w] in [-1, 1], zoom int64 [N].
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from infinite_render.nn.detail import DetailStep, build_detail
from infinite_render.nn.detail_critic import DetailCritic, Prepared
from infinite_render.nn.features import load_features
from infinite_render.nn.scale import double, halve
from infinite_render.training.detail_data import DetailBatch
from infinite_render.training.detail_recipe import DetailRecipe
from infinite_render.training.draws import GENERATOR, Draws
from infinite_render.training.losses import hinge_critic, hinge_generator
from infinite_render.training.state import State, working_dtype

FURTHER_ZOOMS = 2  # steps unrolled after the first
BETAS = (0.0, 0.99)

Terms = dict[str, Tensor]


@dataclass
class DetailState(State):
    """All that changes in a run: the step (`generator`), its critic and its average."""

    generator: DetailStep  # type: ignore[assignment]
    critic: DetailCritic  # type: ignore[assignment]
    averaged: DetailStep  # type: ignore[assignment]


class Fake(NamedTuple):
    """Pictures a step painted, and the zoom they are judged at."""

    rgb: Tensor
    zoom: Tensor


def build_detail_state(recipe: DetailRecipe, device: torch.device) -> DetailState:
    """A fresh state; its weights follow from the recipe's seed."""
    dtype = working_dtype(recipe.precision, device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        step = build_detail(recipe.detail).to(device)
        features = load_features(dtype, device) if recipe.features else None
        critic = DetailCritic(
            recipe.detail.zooms, features=features, features_rows=recipe.batch // 2, dtype=dtype
        ).to(device)
    averaged = copy.deepcopy(step).requires_grad_(False).eval()
    step.compute = dtype
    return DetailState(
        generator=step,
        critic=critic,
        averaged=averaged,
        generator_adam=torch.optim.Adam(step.parameters(), recipe.step_rate, BETAS, fused=True),
        critic_adam=torch.optim.Adam(critic.parameters(), recipe.critic_rate, BETAS, fused=True),
        path_mean=torch.zeros((), device=device),
        images=0,
        device=device,
        dtype=dtype,
        layout=torch.contiguous_format,
    )


def detail_step(
    state: DetailState, recipe: DetailRecipe, batch: DetailBatch, own: Tensor | None
) -> Terms:
    """Show one batch; returns the terms of the objective as detached scalars, by name.

    own: pictures of the base model [n,3,given_px,given_px] to be climbed as well, or None.
    """
    patch = torch.from_numpy(batch.pixels).to(state.device).permute(0, 3, 1, 2).float() / 127.5 - 1
    zoom = torch.from_numpy(batch.zoom).to(state.device)
    given = halve(patch)
    start, size = recipe.painted_from_px, recipe.painted_px
    real = patch[:, :, start : start + size, start : start + size]

    if state.images < recipe.plain_images:
        terms = _plain_step(state, recipe, given, real, zoom)
    else:
        terms = _judged_step(state, recipe, given, real, zoom, own)
    state.images += recipe.batch
    _average(state, recipe)
    return {name: term.detach() for name, term in terms.items()}


def _plain_step(
    state: DetailState, recipe: DetailRecipe, given: Tensor, real: Tensor, zoom: Tensor
) -> Terms:
    """Mean absolute error of what the step paints without noise."""
    painted = Climb(state.generator, None)(given, zoom)
    error = (painted - real).abs().mean()
    _descend(error, state.generator_adam, recipe.plain_rate)
    return {"error": error, **_amplitudes(painted.detach(), real, given)}


def _judged_step(
    state: DetailState,
    recipe: DetailRecipe,
    given: Tensor,
    real: Tensor,
    zoom: Tensor,
    own: Tensor | None,
) -> Terms:
    """The critic's step and the painter's, over every kind of picture."""
    step, half = state.images // recipe.batch, recipe.batch // 2
    rows = list(range(recipe.batch))
    numbers = Draws(
        recipe.seed, state.images, GENERATOR, rows=rows, batch=recipe.batch, device=state.device
    )
    # Half of the batch is painted twice, by two draws of the noise.
    climb = Climb(state.generator, numbers)
    both = climb(torch.cat([given, given[:half]]), torch.cat([zoom, zoom[:half]]))
    painted, again = both[: recipe.batch], both[recipe.batch :]
    fakes = [Fake(painted, zoom)]
    if recipe.unroll_every and step % recipe.unroll_every == 0:
        fakes += climb.further(Fake(painted[half:], zoom[half:]), recipe.given_px)
    if own is not None:
        first = Fake(climb(own, zoom.new_zeros(len(own))), zoom.new_zeros(len(own)))
        fakes += [first, *climb.further(first, recipe.given_px)]

    # What the frozen part makes of the fakes serves both steps.
    seen = [state.critic.prepare(*fake) for fake in fakes]
    terms = _critic_step(state, recipe, Fake(real, zoom), seen)
    terms["crps"] = crps(painted[:half], again, real[:half], recipe.spread)
    ramp = min(1.0, (state.images - recipe.plain_images) / recipe.ramp_images)
    terms |= _painter_step(state, recipe, seen, recipe.crps * terms["crps"], ramp)
    return terms | _amplitudes(painted.detach(), real, given)


class Climb:
    """The step being trained, with noise from the numbers of this training step; None: silence."""

    def __init__(self, step: DetailStep, numbers: Draws | None) -> None:
        self.step, self.numbers = step, numbers

    def __call__(self, rgb: Tensor, zoom: Tensor) -> Tensor:
        noise = rgb.new_zeros(len(rgb), 1, *rgb.shape[2:])
        if self.numbers is not None:
            noise.normal_(generator=self.numbers.generator)
        painted: Tensor = self.step(rgb, zoom, noise)
        return painted

    def further(self, fake: Fake, given_px: int) -> list[Fake]:
        """What the next steps paint from the middle of a picture, each from the one before."""
        fakes = []
        for _ in range(FURTHER_ZOOMS):
            zoom = (fake.zoom + 1).clamp(max=self.step.zooms - 1)
            fake = Fake(self(middle(fake.rgb, given_px), zoom), zoom)
            fakes.append(fake)
        return fakes


def middle(rgb: Tensor, side: int) -> Tensor:
    """The middle of a picture, from an even pixel: [N,C,h,w] -> [N,C,side,side]."""
    top, left = (rgb.shape[2] - side) // 4 * 2, (rgb.shape[3] - side) // 4 * 2
    return rgb[:, :, top : top + side, left : left + side]


def crps(painted: Tensor, again: Tensor, real: Tensor, spread: float = 1.0) -> Tensor:
    """The score of two draws, mean over pixels: (|X - y| + |X' - y| - spread |X - X'|) / 2."""
    errors = (painted - real).abs() + (again - real).abs()
    return (errors - spread * (painted - again).abs()).mean() / 2


def _critic_step(
    state: DetailState, recipe: DetailRecipe, real: Fake, fakes: list[Prepared]
) -> Terms:
    """Hinge of every head; each kind of fake weighs the same."""
    with torch.no_grad():
        real_seen = state.critic.prepare(*real)
    real_logits = state.critic(real_seen)
    total = torch.zeros((), device=state.device)
    right = []
    for seen in fakes:
        fake_logits = state.critic([(x.detach(), zoom) for x, zoom in seen])
        for r, f in zip(real_logits, fake_logits, strict=True):
            total = total + hinge_critic(r, f) / len(fakes)
            right.append((r > 0).float().mean() / 2 + (f < 0).float().mean() / 2)
    _descend(total, state.critic_adam, recipe.critic_rate)
    # How often the heads tell real from fake, by place: 0.5 is a guess, 1 is always.
    return {"critic": total, "told_apart": torch.stack(right).mean()}


def _painter_step(
    state: DetailState, recipe: DetailRecipe, fakes: list[Prepared], pixels: Tensor, ramp: float
) -> Terms:
    """The pixel term, and minus the logits of every head; fakes past the first count half."""
    state.critic.requires_grad_(False)
    judge = torch.zeros((), device=state.device)
    for place, seen in enumerate(fakes):
        for logits in state.critic(seen):
            judge = judge + hinge_generator(logits) * (0.5 if place else 1.0)
    total = pixels + ramp * recipe.adversarial * judge
    _descend(total, state.generator_adam, recipe.step_rate)
    state.critic.requires_grad_(True)
    return {"judge": judge}


def _descend(total: Tensor, adam: torch.optim.Adam, rate: float) -> None:
    """One step of Adam down `total` at `rate`."""
    for group in adam.param_groups:
        group["lr"] = rate
    adam.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    adam.step()
    adam.zero_grad(set_to_none=True)


def _amplitudes(painted: Tensor, real: Tensor, given: Tensor) -> Terms:
    """Mean absolute detail, painted and real: equal when the ladder neither fades nor explodes."""
    plain = middle(double(given), real.shape[2])
    return {
        "detail": (painted - plain).abs().mean(),
        "detail_real": (real - plain).abs().mean(),
    }


def _average(state: DetailState, recipe: DetailRecipe) -> None:
    """Move the averaged step towards the step by one batch, half-life in images."""
    half_life = min(recipe.ema_half_life_images, 0.1 * state.images + 1)
    ours: list[Tensor] = list(state.averaged.parameters())
    theirs: list[Tensor] = list(state.generator.parameters())
    with torch.no_grad():
        torch._foreach_lerp_(ours, theirs, 1 - 0.5 ** (recipe.batch / half_life))
