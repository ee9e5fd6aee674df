"""What a run remembers: generator, critic, averaged generator, two Adams, images shown.

Randomness is a function of the images shown, so these tensors are the whole state: a run continued
from them is the run that was never interrupted.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from infinite_render.errors import ModelError, UsageError
from infinite_render.nn.generator import Generator, build_generator
from infinite_render.precision import DTYPES, choose_precision, has_native_bfloat16
from infinite_render.training.critics import Critic, build_critic
from infinite_render.training.draws import Draws
from infinite_render.training.recipes import AdamConfig, TrainRecipe


@dataclass
class State:
    """All that changes in a run; networks in float32, convolutions in `dtype` and `layout`."""

    generator: Generator
    critic: Critic
    averaged: Generator
    generator_adam: torch.optim.Adam
    critic_adam: torch.optim.Adam
    path_mean: Tensor  # running mean of path lengths, scalar
    images: int
    device: torch.device
    dtype: torch.dtype
    layout: torch.memory_format

    def modules(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "critic": self.critic, "averaged": self.averaged}

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state by name, on the CPU."""
        named = {"path_mean": self.path_mean}
        for prefix, module in self.modules().items():
            named |= {f"{prefix}.{key}": value for key, value in module.state_dict().items()}
        for prefix, adam in self._adams().items():
            named |= adam_tensors(adam, prefix)
        return {key: value.detach().cpu().contiguous() for key, value in named.items()}

    def load(self, tensors: Mapping[str, Tensor], images: int) -> None:
        """Take over what `tensors` gave; ModelError when a tensor is missing or does not fit."""
        try:
            for prefix, module in self.modules().items():
                module.load_state_dict(under(tensors, prefix))
            for prefix, adam in self._adams().items():
                load_adam(adam, tensors, prefix)
            self.path_mean.copy_(tensors["path_mean"])
        except (KeyError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"the checkpoint does not fit the recipe: {reason}") from None
        self.images = images

    def _adams(self) -> dict[str, torch.optim.Adam]:
        return {"generator_adam": self.generator_adam, "critic_adam": self.critic_adam}


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix` and a dot, by the rest of their names."""
    start = f"{prefix}."
    return {key[len(start) :]: value for key, value in tensors.items() if key.startswith(start)}


def adam_tensors(adam: torch.optim.Adam, prefix: str) -> dict[str, Tensor]:
    """What Adam remembers of each parameter, by `prefix`, the parameter's number, its own name."""
    return {
        f"{prefix}.{number}.{key}": value
        for number, slots in adam.state_dict()["state"].items()
        for key, value in slots.items()
    }


def load_adam(adam: torch.optim.Adam, tensors: Mapping[str, Tensor], prefix: str) -> None:
    """Take over what `adam_tensors` gave, from among other tensors; the rates stay."""
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in under(tensors, prefix).items():
        index, name = key.split(".", 1)
        slots.setdefault(int(index), {})[name] = value
    adam.load_state_dict({"state": slots, "param_groups": adam.state_dict()["param_groups"]})


def working_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of convolutions; bfloat16 that is not native is refused: float32 is faster."""
    chosen = choose_precision(precision, str(device))
    if chosen == "bfloat16" and not has_native_bfloat16(str(device)):
        raise UsageError(
            f"precision = 'bfloat16': {device} has no native bfloat16; use 'auto' or 'float32'"
        )
    return DTYPES[chosen]


def build_state(recipe: TrainRecipe, device: torch.device, *, plain: bool = False) -> State:
    """A fresh state; its weights follow from the recipe's seed.

    `plain` is the ordinary float32 loop that speed is measured against: contiguous tensors, the
    framework's own gradients, and an Adam that takes one parameter at a time.
    """
    dtype = torch.float32 if plain else working_dtype(recipe.precision, device)
    patch_px = recipe.generator.patch_px
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        generator = build_generator(recipe.generator).to(device)
        critic = build_critic(
            recipe.critic,
            patch_px,
            dtype=dtype,
            device=device,
            faithful=recipe.faithful,
            plain=plain,
        )
    loss = recipe.loss
    generator_lazy = loss.path_every if loss.path > 0 else 0
    critic_lazy = loss.r1_every if loss.r1 > 0 else 0
    adam = recipe.adam
    parts = {generator.structure: adam.structure_share, generator.texture: 1.0}
    return State(
        generator=generator,
        critic=critic,
        averaged=copy.deepcopy(generator).requires_grad_(False).eval(),
        generator_adam=_adam(parts, adam, adam.generator_rate, generator_lazy, plain),
        critic_adam=_adam({critic: 1.0}, adam, adam.critic_rate, critic_lazy, plain),
        path_mean=torch.zeros((), device=device),
        images=0,
        device=device,
        dtype=dtype,
        layout=torch.contiguous_format if plain else torch.channels_last,
    )


def _adam(
    parts: dict[nn.Module, float], config: AdamConfig, rate: float, every: int, plain: bool
) -> torch.optim.Adam:
    """Adam corrected for lazy regularisation: `every` steps take one step more.

    parts: the networks whose parameters it moves, and the share of `rate` each moves at.
    """
    share = every / (every + 1) if every else 1.0
    return torch.optim.Adam(
        [{"params": part.parameters(), "lr": rate * share * own} for part, own in parts.items()],
        betas=(config.beta1**share, config.beta2**share),
        foreach=False if plain else None,
        fused=None if plain else True,
    )


def average(state: State, recipe: TrainRecipe) -> None:
    """Move the averaged generator towards the generator by one batch, half-life in images."""
    half_life = recipe.ema_half_life_images
    if recipe.ema_ramp > 0:
        half_life = min(half_life, recipe.ema_ramp * state.images + 1)
    weight = 1 - 0.5 ** (recipe.batch / half_life)
    with torch.no_grad():
        ours: list[Tensor] = list(state.averaged.parameters())
        theirs: list[Tensor] = list(state.generator.parameters())
        torch._foreach_lerp_(ours, theirs, weight)


def draws_for(
    state: State, recipe: TrainRecipe, purpose: int, rows: list[int], batch: int | None = None
) -> Draws:
    """The random numbers of this step for one purpose."""
    return Draws(
        recipe.seed,
        state.images,
        purpose,
        rows=rows,
        batch=recipe.batch if batch is None else batch,
        device=state.device,
    )
