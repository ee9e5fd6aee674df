"""How fast and how large a recipe is here, by a few steps on random patches."""

from __future__ import annotations

import dataclasses
import math
import resource
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch

from infinite_render.training.data import Batch
from infinite_render.training.recipes import TrainRecipe
from infinite_render.training.state import build_state
from infinite_render.training.steps import train_step

SECONDS = 10.0
MAX_STEPS = 16


@dataclass(frozen=True)
class Estimate:
    """What a run of a recipe takes on this machine."""

    images_per_s: float
    memory_bytes: int  # at the peak: of the process, or of the accelerator where there is one
    generator_parameters: int
    critic_parameters: int  # trained ones
    seconds: float  # for all images of the recipe
    precision: str


def estimate(
    recipe: TrainRecipe, device: torch.device, *, plain: bool = False, seconds: float = SECONDS
) -> Estimate:
    """Run the recipe for about `seconds` (a few steps at least) on random patches.

    `plain` measures the ordinary loop instead: float32, contiguous tensors, the generator run anew
    for each network's step.
    """
    if plain:
        recipe = dataclasses.replace(recipe, shared_fakes=False)
    state = build_state(recipe, device, plain=plain)
    size, side = recipe.batch, recipe.generator.patch_px
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (size, side, side, 3), dtype=np.uint8)
    batch = Batch(pixels, np.zeros(size, np.float32), np.full(size, 0.01, np.float32))
    rows = list(range(size))

    def timed(index: int, limit_s: float) -> float:
        """Mean seconds of the step that comes after `index` steps."""
        began, steps = time.monotonic(), 0
        while steps == 0 or (steps < MAX_STEPS and time.monotonic() - began < limit_s):
            state.images = index * size
            train_step(state, recipe, batch, rows)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            steps += 1
        return (time.monotonic() - began) / steps

    # Step 0 runs every lazy term: it fills caches and counts for memory, not for speed. Then each
    # kind of step is timed, and weighed by how often it comes.
    timed(0, 0.0)
    kinds = step_kinds(recipe)
    period = sum(len(indices) for indices in kinds)
    step_s = sum(len(i) / period * timed(i[0], seconds / len(kinds)) for i in kinds)
    images_per_s = size / step_s
    return Estimate(
        images_per_s=images_per_s,
        memory_bytes=_peak_bytes(device),
        generator_parameters=sum(p.numel() for p in state.generator.parameters()),
        critic_parameters=sum(p.numel() for p in state.critic.parameters()),
        seconds=recipe.images / images_per_s,
        precision=str(state.dtype).removeprefix("torch."),
    )


def step_kinds(recipe: TrainRecipe) -> list[list[int]]:
    """Steps of one period of the lazy terms, grouped by which of them are due.

    >>> from infinite_render.training.recipes import load_recipe
    >>> [len(steps) for steps in step_kinds(load_recipe("paper"))]  # R1 and path, neither, path
    [1, 12, 3]
    """
    loss = recipe.loss
    r1_every = loss.r1_every if loss.r1 > 0 else 1
    path_every = loss.path_every if loss.path > 0 else 1
    kinds: dict[tuple[bool, bool], list[int]] = {}
    for step in range(math.lcm(r1_every, path_every)):
        kinds.setdefault((step % r1_every == 0, step % path_every == 0), []).append(step)
    return list(kinds.values())


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
