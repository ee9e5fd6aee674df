"""One training step: the critic's, the generator's, and their lazy regularisers.

scene --generator--> fakes --augment, prepare--> what the critic reads --heads--> logits, place
"""

from __future__ import annotations

import torch
from torch import Tensor

from infinite_render.training import draws as purposes
from infinite_render.training import losses
from infinite_render.training.augment import augment
from infinite_render.training.data import Batch
from infinite_render.training.distributed import ALONE, Ranks
from infinite_render.training.draws import Draws
from infinite_render.training.painting import Painted, draw_scene, paint
from infinite_render.training.recipes import TrainRecipe
from infinite_render.training.state import State, average, draws_for

PATH_DECAY = 0.01  # of the running mean of path lengths, a regularising step

Terms = dict[str, Tensor]
Prepared = tuple[Tensor, ...]


def train_step(
    state: State, recipe: TrainRecipe, batch: Batch, rows: list[int], ranks: Ranks = ALONE
) -> Terms:
    """Show one batch; returns the terms of the objective as detached scalars, by name.

    rows: this process's rows of the global batch; `batch` holds those same rows.
    ranks: of several processes, those that share the state's generator and critic.
    """
    step = state.images // recipe.batch
    numbers = draws_for(state, recipe, purposes.CRITIC, rows)
    real_rgb, real_position, label_per_px = real_tensors(batch, state.device)

    # One pass of the generator serves both steps, or each has its own.
    with torch.set_grad_enabled(recipe.shared_fakes):
        painted, fake, fake_position = _paint_and_prepare(state, recipe, numbers)
    with torch.no_grad():
        seen, real_position = augment(
            real_rgb, real_position, label_per_px, recipe.augment, numbers
        )
        real = state.critic.prepare(seen)

    terms = _critic_step(state, recipe, real, real_position, fake, fake_position, ranks)
    if recipe.loss.r1 > 0 and step % recipe.loss.r1_every == 0:
        terms |= _penalty_step(state, recipe, real_rgb, label_per_px, rows, ranks)

    state.critic.requires_grad_(False)
    if not recipe.shared_fakes:
        numbers = draws_for(state, recipe, purposes.GENERATOR, rows)
        painted, fake, fake_position = _paint_and_prepare(state, recipe, numbers)
    terms |= _generator_step(state, recipe, painted, fake, fake_position, ranks)
    if recipe.loss.path > 0 and step % recipe.loss.path_every == 0:
        terms |= _path_step(state, recipe, rows, ranks)
    state.critic.requires_grad_(True)

    state.images += recipe.batch
    average(state, recipe)
    return terms


def real_tensors(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """A batch as rgb float32 [n,3,P,P] in [-1, 1], position [n] and label_per_px [n]."""
    pixels = torch.from_numpy(batch.pixels).to(device, non_blocking=True)
    rgb = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    position = torch.from_numpy(batch.position).to(device, non_blocking=True)
    return rgb, position, torch.from_numpy(batch.label_per_px).to(device, non_blocking=True)


def _paint_and_prepare(
    state: State, recipe: TrainRecipe, numbers: Draws
) -> tuple[Painted, Prepared, Tensor]:
    floors = state.generator.drift_floors
    scene = draw_scene(recipe, numbers, paired=recipe.paired, drift_floors=floors)
    painted = paint(state.generator, scene, state.dtype, state.layout)
    label_per_px = torch.full_like(scene.position, recipe.label_per_px)
    seen, position = augment(painted.rgb, scene.position, label_per_px, recipe.augment, numbers)
    return painted, state.critic.prepare(seen), position


def _descend(total: Tensor, adam: torch.optim.Adam, module: torch.nn.Module, ranks: Ranks) -> None:
    """One step of Adam down `total`, averaged over processes."""
    adam.zero_grad(set_to_none=True)
    ranks.backward(total, module)
    adam.step()
    adam.zero_grad(set_to_none=True)


def _critic_step(
    state: State,
    recipe: TrainRecipe,
    real: Prepared,
    real_position: Tensor,
    fake: Prepared,
    fake_position: Tensor,
    ranks: Ranks,
) -> Terms:
    """L_adv + l_ar L_ar of the critic."""
    fake_logits, fake_place = state.critic(tuple(tap.detach() for tap in fake))
    real_logits, real_place = state.critic(real)
    judged, _ = losses.ADVERSARIAL[recipe.loss.adversarial]
    by_head = [judged(r, f) for r, f in zip(real_logits, fake_logits, strict=True)]
    adversarial = torch.stack(by_head).sum()
    terms = {"critic": adversarial}
    total = adversarial
    if recipe.loss.position > 0:
        terms["position_real"] = losses.position_error(real_place, real_position)
        terms["position_fake"] = losses.position_error(fake_place, fake_position)
        total = total + recipe.loss.position * (terms["position_real"] + terms["position_fake"])
    _descend(total, state.critic_adam, state.critic, ranks)

    # How often the heads tell real from fake: 0.5 is a guess, 1 is always.
    right = [
        (r > 0).float().mean() + (f < 0).float().mean()
        for r, f in zip(real_logits, fake_logits, strict=True)
    ]
    terms["told_apart"] = torch.stack(right).mean() / 2
    return {name: term.detach() for name, term in terms.items()}


def _generator_step(
    state: State,
    recipe: TrainRecipe,
    painted: Painted,
    fake: Prepared,
    fake_position: Tensor,
    ranks: Ranks,
) -> Terms:
    """-L_adv + l_ar L_ar + l_div L_div (+ overshoot) of the generator."""
    loss = recipe.loss
    logits, place = state.critic(fake)
    _, fooled = losses.ADVERSARIAL[loss.adversarial]
    terms = {"generator": torch.stack([fooled(head) for head in logits]).sum()}
    total = terms["generator"]
    if loss.position > 0:
        terms["position"] = losses.position_error(place, fake_position)
        total = total + loss.position * terms["position"]
    if loss.diversity > 0:
        terms["diversity"] = losses.diversity(
            _halves(painted.z_local), _halves(painted.z_structure), faithful=recipe.faithful
        )
        total = total + loss.diversity * terms["diversity"]
    if loss.overshoot > 0:
        terms["overshoot"] = losses.overshoot(painted.rgb)
        total = total + loss.overshoot * terms["overshoot"]
    _descend(total, state.generator_adam, state.generator, ranks)
    return {name: term.detach() for name, term in terms.items()}


def _halves(values: Tensor) -> tuple[Tensor, Tensor]:
    half = values.shape[0] // 2
    return values[:half], values[half:]


def _penalty_step(
    state: State,
    recipe: TrainRecipe,
    real_rgb: Tensor,
    label_per_px: Tensor,
    rows: list[int],
    ranks: Ranks,
) -> Terms:
    """l_R1 R1 on real patches, scaled by the steps between two."""
    numbers = draws_for(state, recipe, purposes.R1, rows)
    rgb = real_rgb.detach().requires_grad_(True)
    seen, _ = augment(rgb, label_per_px, label_per_px, recipe.augment, numbers)
    logits, _ = state.critic(state.critic.prepare(seen))
    penalty = losses.gradient_penalty(logits, rgb)
    _descend(
        recipe.loss.r1_every * recipe.loss.r1 * penalty, state.critic_adam, state.critic, ranks
    )
    return {"r1": penalty.detach()}


def _path_step(state: State, recipe: TrainRecipe, rows: list[int], ranks: Ranks) -> Terms:
    """l_path L_path on half a batch, scaled by the steps between two."""
    half = rows[: max(1, len(rows) // 2)]
    numbers = draws_for(state, recipe, purposes.PATH, half)
    floors = state.generator.drift_floors
    scene = draw_scene(recipe, numbers, paired=False, drift_floors=floors)
    painted = paint(state.generator, scene, state.dtype, state.layout)
    lengths = losses.path_lengths(painted.rgb, painted.w, numbers.normal(*painted.rgb.shape[1:]))
    average_length = ranks.mean(lengths.detach().mean())
    state.path_mean = state.path_mean.lerp(average_length, PATH_DECAY)
    path = losses.path_penalty(lengths, state.path_mean)
    _descend(
        recipe.loss.path_every * recipe.loss.path * path,
        state.generator_adam,
        state.generator,
        ranks,
    )
    return {"path": path.detach()}
