"""Reads the published checkpoints of InfinityGAN's reference implementation into our own names.

A checkpoint is a `torch.save` file holding a dict whose key `g_ema` is a state dict. It is read
with `weights_only=True`, so that a file that holds code is refused. All sizes are inferred from
shapes.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from infinite_render.config import GeneratorConfig
from infinite_render.errors import ModelError

EMA_KEY = "g_ema"
COORDINATES = 3
PATCH_CELLS, START_ROWS, PERIOD_CELLS = 11, 10, 139  # the paper's grid; no checkpoint holds it

_IGNORED = (
    re.compile(  # constants of the architecture: fixed noises, blur kernels, StyleGAN2's input
        r"texture_synthesizer\.(noises\..*|const_z\..*|.*\.(blur|upsample)\.kernel)$"
    )
)
_STRUCTURE = re.compile(r"structure_synthesizer\.implicit_model\.conv_stack\.(\d+)\.conv\.(.+)$")
_MAPPING = re.compile(r"texture_synthesizer\.mapping\.(\d+)\.(weight|bias)$")
_CONV = re.compile(r"texture_synthesizer\.convs\.(\d+)\.(.+)$")
_RGB = re.compile(r"texture_synthesizer\.to_rgbs\.(\d+)\.(.+)$")
_LEAF = {
    "conv.weight": "conv.weight",
    "conv.modulation.weight": "conv.modulation.weight",
    "conv.modulation.bias": "conv.modulation.bias",
    "activate.bias": "bias",
    "noise.weight": "noise_strength",
    "bias": "bias",
}


def our_name(key: str) -> str | None:
    """Our name of one of the reference's keys; None for a constant that we do not store.

    >>> our_name("texture_synthesizer.convs.3.activate.bias")
    'texture.blocks.1.conv.bias'

    Raises ModelError for a key that no generator of the reference has.
    """
    if _IGNORED.match(key):
        return None
    leaf: str | None = None
    prefix = ""
    if match := _MAPPING.match(key):
        return f"texture.mapping.layers.{int(match[1]) - 1}.{match[2]}"
    if match := _STRUCTURE.match(key):
        prefix, leaf = f"structure.layers.{match[1]}", _LEAF.get(match[2])
    elif match := _CONV.match(key):
        block, second = divmod(int(match[1]), 2)
        prefix, leaf = (
            f"texture.blocks.{block}.{'conv' if second else 'up'}",
            _LEAF.get(match[2]),
        )
    elif match := _RGB.match(key):
        prefix, leaf = f"texture.blocks.{match[1]}.to_rgb", _LEAF.get(match[2])
    if leaf is None:
        raise ModelError(
            f"{key!r} is not a tensor of the reference's generator; is {EMA_KEY!r} a generator?"
        )
    return f"{prefix}.{leaf}"


def convert(state: Mapping[str, Tensor]) -> tuple[GeneratorConfig, dict[str, Tensor]]:
    """The reference's generator state dict as (config, our state dict), float32.

    Raises ModelError naming any key that is unknown or missing.
    """
    ours: dict[str, Tensor] = {}
    for key, value in state.items():
        name = our_name(key)
        if name is None:
            continue
        if name.endswith("conv.weight") and value.ndim == 5:
            value = value[0]  # [1,O,I,k,k]
        if name.endswith(("noise_strength", "to_rgb.bias")):
            value = value.reshape(() if name.endswith("strength") else 3)
        ours[name] = value.detach().float().clone()
    return _infer_config(ours), ours


def _infer_config(ours: dict[str, Tensor]) -> GeneratorConfig:
    def shape(name: str) -> torch.Size:
        if name not in ours:
            raise ModelError(
                f"the checkpoint lacks {name!r} (our name); it is cut or not a generator"
            )
        return ours[name].shape

    def count(pattern: str) -> int:
        return len({m[1] for key in ours if (m := re.match(pattern, key))})

    layers, blocks = count(r"structure\.layers\.(\d+)\."), count(r"texture\.blocks\.(\d+)\.")
    first = shape("structure.layers.0.conv.weight")
    return GeneratorConfig(
        global_dim=shape("structure.layers.0.conv.modulation.weight")[1],
        local_dim=first[1] - COORDINATES,
        structure_dim=first[0],
        structure_layers=layers,
        structure_radius=first[2] // 2,
        texture_dims=tuple(shape(f"texture.blocks.{b}.up.conv.weight")[0] for b in range(blocks)),
        mapping_layers=count(r"texture\.mapping\.layers\.(\d+)\."),
        patch_cells=PATCH_CELLS,
        start_rows=START_ROWS,
        period_cells=PERIOD_CELLS,
    )


def read_checkpoint(path: Path) -> tuple[GeneratorConfig, dict[str, Tensor]]:
    """Read a published checkpoint; raises ModelError when it is missing, damaged or holds code."""
    if not path.is_file():
        raise ModelError(f"checkpoint {path} does not exist")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"checkpoint {path} holds more than tensors, and loading it could run code; "
            f"save its {EMA_KEY!r} alone and import that ({reason})"
        ) from None
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        raise ModelError(f"checkpoint {path} is damaged: {str(error).splitlines()[0]}") from None
    return convert(_ema_state(content, path))


def _ema_state(content: object, path: Path) -> Mapping[str, Tensor]:
    """The generator's state dict in what a checkpoint file holds."""
    if isinstance(content, Mapping) and EMA_KEY in content:
        content = content[EMA_KEY]
    elif not (isinstance(content, Mapping) and any(str(k).startswith("texture_") for k in content)):
        keys = (
            ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        )
        raise ModelError(f"checkpoint {path} has no {EMA_KEY!r}; it holds: {keys or 'nothing'}")
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelError(f"{EMA_KEY!r} of checkpoint {path} is not a state dict of tensors")
    return content
