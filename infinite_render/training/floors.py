"""A model's floors: what its own pictures, or eyes that saw them, tell of its latents.

    latents, truncated -> pictures -> measures -> each as linear in the latents -> floors

Measures are of the ground (`training.grounds`), of level streaks (`training.levels`) and marks that
were given by eye (`training.marks`). What reads too low is taken up (`nn.floors`); no weight that
paints changes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from infinite_render.errors import ModelError, UsageError
from infinite_render.models import Model
from infinite_render.nn.floors import Floors
from infinite_render.nn.generator import build_generator

RIDGE = 0.125  # of a latent's variance
SAME = 1e-6  # of the most variance of measures together: with less, two of them tell the same


class Seen(NamedTuple):
    """Latents [N,D] and measures of what is painted by them [N,K]."""

    latents: Tensor
    measures: Tensor


def joined(batches: Sequence[Seen]) -> Seen:
    """Several batches as one."""
    return Seen(*(torch.cat(each) for each in zip(*batches, strict=True)))


def check_new(model: Model, key: str, names: Sequence[str]) -> None:
    """ModelError for a model that truncates nothing, or has one of these floors already.

    Nor may floors of all styles come after those of coarse ones, or those of a drift be where
    nothing drifts.
    """
    if model.recipe.render.truncation == 1:
        raise ModelError(
            f"model {model.name} is not truncated, and floors are for truncated latents; "
            "set truncation in its model.toml below 1"
        )
    if key == "floors" and model.recipe.generator.coarse_floors:
        raise ModelError(
            f"model {model.name} has floors of coarse styles, which those of all come before; "
            "give one without them"
        )
    if key == "drift_floors" and model.recipe.generator.drift == 0:
        raise ModelError(
            f"nothing drifts of the latents of model {model.name}; give one whose model.toml sets "
            "drift over 0"
        )
    had = getattr(model.recipe.generator, key)
    if again := [name for name in names if name in had]:
        raise ModelError(
            f"model {model.name} has {key} of {', '.join(again)} already; give one without them"
        )


def with_floors(model: Model, key: str, names: Sequence[str], floors: Floors) -> Model:
    """The model with these floors, of those names, in place of its own.

    `key` is theirs in its configuration, and their name in its generator.
    Raises RecipeError for more of them than latents have channels.
    """
    named: dict[str, Any] = {key: tuple(names)}
    config = dataclasses.replace(model.recipe.generator, **named)
    generator = build_generator(config)
    own = {f"{key}.{name}": each for name, each in floors.state_dict().items()}
    generator.load_state_dict(model.generator.state_dict() | own)
    recipe = dataclasses.replace(model.recipe, generator=config)
    return dataclasses.replace(model, recipe=recipe, generator=generator)


def with_more_floors(
    model: Model,
    names: Sequence[str],
    seen: Seen,
    shares: Sequence[float],
    ridge: float = RIDGE,
    key: str = "floors",
) -> Model:
    """The model with floors of more measures, below which shares of its latents were seen to read.

    `shares` are one for all or one a measure; `key` is one of `config.FLOORS`, and the latents seen
    are those that its floors are of. Coarse floors come on top of those of all styles, which stay
    as they are.
    Raises ModelError as `check_new` and `fitted` do, UsageError for shares outside of 0 .. 1, or of
    another number.
    """
    if len(shares) not in (1, len(names)):
        raise UsageError(
            f"{len(shares)} shares are given for {len(names)} measures; give one for all, or one "
            "for each"
        )
    for share in shares:
        if not 0 < share < 1:
            raise UsageError(f"share = {share:g} of all latents must be over 0 and below 1")
    check_new(model, key, names)
    of_all, own = model.generator.floors, getattr(model.generator, key)
    under = of_all if key == "coarse_floors" else None
    before = [floors for floors in (under, own) if floors is not None]
    found = fitted(seen, shares, before, ridge).since(0 if under is None else len(under.least))
    all_names = (*getattr(model.recipe.generator, key), *names)
    return with_floors(model, key, all_names, found)


def fitted(
    seen: Seen, shares: Sequence[float], before: Sequence[Floors] = (), ridge: float = RIDGE
) -> Floors:
    """Floors, those `before` first, by ridge regression; new ones read in deviations.

    `shares` as for `with_more_floors`. What raises a measure is what goes with it in the latents
    seen, and with no other measure.
    Raises ModelError for measures that tell the same, and as `regressed` does.
    """
    latents = seen.latents.double()
    reads, covariance = regressed(seen, ridge)
    reads = reads / (latents @ reads).std(dim=0)
    read = zip((latents @ reads).T, latents.new_tensor(shares).expand(reads.shape[1]), strict=True)
    least = torch.stack([values.quantile(share) for values, share in read])
    reads = torch.cat([*(floors.reads.double().T for floors in before), reads], dim=1)
    least = torch.cat([*(floors.least.double() for floors in before), least])
    along = covariance @ reads
    together = reads.T @ along
    if torch.linalg.matrix_rank(together, rtol=SAME, hermitian=True) < len(together):
        raise ModelError(
            f"{reads.shape[1]} measures, those that have floors already among them, differ too "
            f"little in {len(reads)} channels for a floor each; leave out what tells the same"
        )
    return Floors.of(reads.T, (along @ torch.linalg.inv(together)).T, least)


def regressed(seen: Seen, ridge: float = RIDGE) -> tuple[Tensor, Tensor]:
    """Measures as linear in the latents [D,K], and the latents' covariance [D,D]; float64.

    Raises ModelError for a measure that is the same in all pictures: nothing can be told of it.
    """
    latents, measures = seen.latents.double(), seen.measures.double()
    if not bool((measures.std(dim=0) > 0).all()):
        raise ModelError(
            f"a measure is the same in all {len(measures)} pictures, so no floor can be found; "
            "give more of them, or marks that differ"
        )
    away = latents - latents.mean(dim=0)
    covariance = away.T @ away / len(latents)
    damped = ridge * covariance.diagonal().mean() * torch.eye(len(covariance)).to(covariance)
    joint = away.T @ (measures - measures.mean(dim=0)) / len(latents)
    return torch.linalg.solve(covariance + damped, joint), covariance
