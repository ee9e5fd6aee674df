"""Discriminators: built from a recipe, and kept beside the model as `critic.safetensors`.

The file's metadata holds the recipe's critic table, so that the discriminator of a model folder can
be built again by whoever needs it: to train on, for its features, for its guess of the vertical
place.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from infinite_render.config import from_dict, to_dict
from infinite_render.errors import ModelError, RecipeError
from infinite_render.files import replace_file
from infinite_render.models import load_weights, read_tensors
from infinite_render.nn.discriminator import ResidualDiscriminator
from infinite_render.nn.features import load_features
from infinite_render.nn.projected import ProjectedDiscriminator
from infinite_render.training.recipes import CriticConfig

CRITIC = "critic.safetensors"

Critic = ResidualDiscriminator | ProjectedDiscriminator


def build_critic(
    config: CriticConfig,
    patch_px: int,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    faithful: bool = False,
    plain: bool = False,
) -> Critic:
    """A freshly initialised discriminator for patches of `patch_px`; `plain`: see `Features`."""
    if config.kind == "projected":
        features = load_features(dtype, device, plain=plain)
        critic: Critic = ProjectedDiscriminator(
            features, dim=config.head_dim, size_px=config.input_px
        )
    else:
        # Fault 3 of the reference: one minibatch deviation over the whole batch.
        group = None if faithful else config.group
        critic = ResidualDiscriminator(patch_px, config.dims, group=group)
        critic.dtype = dtype
    return critic.to(device)


def save_critic(folder: Path, critic: Critic, config: CriticConfig, patch_px: int) -> None:
    """Write `critic.safetensors` into a model folder, whole or not at all."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in critic.state_dict().items()}
    metadata = {"critic": json.dumps(to_dict(config)), "patch_px": str(patch_px)}
    replace_file(folder / CRITIC, lambda path: save_file(tensors, path, metadata))


def read_critic_config(folder: Path) -> tuple[CriticConfig, int]:
    """(critic table, patch_px) of a model folder's discriminator; ModelError when there is none."""
    path = folder / CRITIC
    if not path.is_file():
        raise ModelError(f"{path} does not exist: this model was kept without its discriminator")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        config = from_dict(CriticConfig, json.loads(metadata["critic"]), "critic.")
        return config, int(metadata["patch_px"])
    except (SafetensorError, OSError, KeyError, ValueError, RecipeError) as error:
        raise ModelError(f"{path} is damaged or no discriminator of ours: {error}") from None


def load_critic(
    folder: Path, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> Critic:
    """The discriminator of a model folder, frozen and in evaluation mode."""
    config, patch_px = read_critic_config(folder)
    critic = build_critic(config, patch_px, dtype=dtype, device=device)
    load_weights(critic, read_tensors(folder / CRITIC), folder / CRITIC)
    return critic.eval().requires_grad_(False)
