"""Reads the published checkpoints of InfinityGAN's reference implementation into our own names.

A checkpoint is a `torch.save` file holding a dict whose key `g_ema` is a state dict, or that state
dict alone. It is read with `weights_only=True`, so that a file that holds code is refused. All
sizes are inferred from shapes.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from infinite_render.config import GeneratorConfig, ModelRecipe
from infinite_render.errors import ModelError, OutputError
from infinite_render.files import why_unreadable
from infinite_render.models import save_model
from infinite_render.nn.generator import build_generator

EMA_KEY = "g_ema"
COORDINATES = 3
PATCH_CELLS, START_ROWS, PERIOD_CELLS = 11, 10, 139  # the paper's grid; no checkpoint holds it

_IGNORED = (
    re.compile(  # constants of the architecture: fixed noises, blur kernels, StyleGAN2's input
        r"texture_synthesizer\.(noises\..*|const_z\..*|.*\.(blur|upsample)\.kernel)$"
    )
)
_CODE = re.compile(r"GLOBAL (\S+)")  # in torch's refusal: what the file would have had called
_NEW_PICKLE = re.compile(r"Unsupported operand 1(?:4\d|5[01])\b")  # opcodes of protocols 4 and 5
_ZIP, _MAGIC = b"PK\3\4", b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save's files, new and old
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


def their_name(name: str) -> str:
    """The reference's name of one of ours: the inverse of `our_name`, for errors.

    >>> their_name("texture.blocks.1.conv.bias")
    'texture_synthesizer.convs.3.activate.bias'
    """
    theirs = {leaf: key for key, leaf in _LEAF.items() if key != "bias"}
    match name.split(".", 4):
        case ["texture", "mapping", "layers", i, leaf]:
            return f"texture_synthesizer.mapping.{int(i) + 1}.{leaf}"
        case ["texture", "blocks", b, "to_rgb", leaf]:
            leaf = "bias" if leaf == "bias" else theirs[leaf]
            return f"texture_synthesizer.to_rgbs.{b}.{leaf}"
        case ["texture", "blocks", b, layer, leaf]:
            return f"texture_synthesizer.convs.{2 * int(b) + (layer == 'conv')}.{theirs[leaf]}"
        case ["structure", "layers", i, *rest]:
            prefix = f"structure_synthesizer.implicit_model.conv_stack.{i}.conv"
            return f"{prefix}.{theirs['.'.join(rest)]}"
    raise ValueError(f"{name} is not the name of a generator's tensor")


def convert(state: Mapping[str, Tensor]) -> tuple[GeneratorConfig, dict[str, Tensor]]:
    """The reference's generator state dict as (config, our state dict), float32.

    Raises ModelError naming any key that is unknown or missing, or does not fit the others.
    """
    ours: dict[str, Tensor] = {}
    for key, value in state.items():
        name = our_name(key)
        if name is None:
            continue
        if name.endswith("conv.weight") and value.ndim == 5:
            value = value[0]  # [1,O,I,k,k]
        if name.endswith("noise_strength") and value.numel() == 1:
            value = value.reshape(())
        if name.endswith("to_rgb.bias"):
            value = value.flatten()
        ours[name] = value.detach().float().clone()
    config = _infer_config(ours)
    _check_whole(config, ours)
    return config, ours


def _check_whole(config: GeneratorConfig, ours: Mapping[str, Tensor]) -> None:
    """ModelError for a tensor that the generator of `config` lacks, has not, or has otherwise."""
    with torch.device("meta"):
        expected = build_generator(config).state_dict()
    if missing := [their_name(name) for name in expected if name not in ours]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelError(
            f"the checkpoint lacks {missing[0]!r}{more}; it is cut, or of another kind"
        )
    for name, value in ours.items():
        if name not in expected:
            raise ModelError(
                f"the checkpoint holds {their_name(name)!r} without what belongs to it"
            )
        if value.shape != expected[name].shape:
            raise ModelError(
                f"{their_name(name)!r} has the values of {tuple(value.shape)}, "
                f"where the other tensors ask for {tuple(expected[name].shape)}"
            )


def _infer_config(ours: dict[str, Tensor]) -> GeneratorConfig:
    def shape(name: str, rank: int) -> torch.Size:
        if name not in ours:
            raise ModelError(
                f"the checkpoint lacks {their_name(name)!r}; it is cut, or of another kind"
            )
        if ours[name].ndim != rank:
            raise ModelError(f"{their_name(name)!r} has {ours[name].ndim} axes, not {rank}")
        return ours[name].shape

    def count(pattern: str) -> int:
        return len({m[1] for key in ours if (m := re.match(pattern, key))})

    layers, blocks = count(r"structure\.layers\.(\d+)\."), count(r"texture\.blocks\.(\d+)\.")
    first = shape("structure.layers.0.conv.weight", 4)
    return GeneratorConfig(
        global_dim=shape("structure.layers.0.conv.modulation.weight", 2)[1],
        local_dim=first[1] - COORDINATES,
        structure_dim=first[0],
        structure_layers=layers,
        structure_radius=first[2] // 2,
        texture_dims=tuple(
            shape(f"texture.blocks.{b}.up.conv.weight", 4)[0] for b in range(blocks)
        ),
        mapping_layers=count(r"texture\.mapping\.layers\.(\d+)\."),
        patch_cells=PATCH_CELLS,
        start_rows=START_ROWS,
        period_cells=PERIOD_CELLS,
    )


def read_checkpoint(path: Path) -> tuple[GeneratorConfig, dict[str, Tensor]]:
    """Read a published checkpoint.

    Raises ModelError when it is missing, unreadable, damaged, no checkpoint, or holds code.
    """
    if path.is_dir():
        raise ModelError(f"checkpoint {path} is a folder; give the checkpoint file itself")
    if not path.is_file():
        raise ModelError(f"checkpoint {path} does not exist; give the path of a file of torch.save")
    if reason := why_unreadable(path):
        raise ModelError(f"checkpoint {path} cannot be read: {reason}; make it readable")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle of a damaged file
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # garbage ends torch's unpickler in a dozen ways
        with path.open("rb") as file:
            head = file.read(4096)
        raise ModelError(f"checkpoint {path} {_why_refused(error, head)}") from None
    return convert(_ema_state(content, path))


def _why_refused(error: Exception, head: bytes) -> str:
    """What is wrong with a file that begins with `head`, which torch refused with `error`."""
    is_unpickling = isinstance(error, pickle.UnpicklingError)
    again = f"save its {EMA_KEY!r} alone"
    if is_unpickling and (code := _CODE.search(str(error))):
        return (
            f"holds more than tensors ({code[1]}), which could run code, and was not loaded; "
            f"{again} and import that"
        )
    if not head:
        return "is damaged: it is empty; fetch it again"
    if not _is_of_torch(head):
        if head[0] == 0x80 and head[1:2] in {b"\2", b"\3", b"\4", b"\5"}:
            return (
                "is a plain pickle, which could run code, and was not loaded: it is no file of "
                f"torch.save; {again} by torch.save and import that"
            )
        if _is_text(head):
            return (
                "is damaged or no checkpoint: it holds text, perhaps a web page or a pointer in "
                "place of a download; fetch the checkpoint itself"
            )
    if is_unpickling and _NEW_PICKLE.search(str(error)):
        return (
            "is damaged, or pickled by protocol 4 or 5, which torch reads only where it may run "
            f"code; {again} by torch.save with its own protocol, or fetch it again"
        )
    if is_unpickling:
        return "is damaged: its pickle breaks off; fetch it again"
    reason = re.split(r"[.\n]", f"{type(error).__name__}: {error}")[0]
    return f"is damaged or no checkpoint ({reason}); fetch it again"


def _is_of_torch(head: bytes) -> bool:
    """Whether a file that begins with `head`, or is cut there, is one of torch.save."""
    return _ZIP.startswith(head[:4]) or _MAGIC in head[:40] or (b"\x80\2" + _MAGIC).startswith(head)


def _is_text(head: bytes) -> bool:
    """Whether a file that begins with `head` is text: no control characters, any encoding.

    >>> _is_text("<!DOCTYPE html>\\n".encode()), _is_text(b"PK\\3\\4")
    (True, False)
    """
    return all(byte >= 32 or byte in b"\t\n\r\f" for byte in head) and 0x7F not in head


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


def import_model(checkpoint: Path, folder: Path) -> ModelRecipe:
    """Write a published checkpoint as a model folder of ours; `folder` must be new or empty.

    Raises ModelError for the checkpoint, OutputError for the folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} exists and is not an empty folder; choose another name")
    config, state = read_checkpoint(checkpoint)
    with checkpoint.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    origin = {"imported_from": checkpoint.name, "checkpoint_sha256": sha256}
    recipe = ModelRecipe(name=folder.resolve().name, generator=config, trained=origin)
    card = _CARD.format(name=recipe.name, px=config.patch_px, blocks=config.blocks, **origin)
    try:
        save_model(folder, recipe, state, card)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error}") from None
    return recipe


_CARD = """# {name}

Imported by infrender from `{imported_from}`, a checkpoint of InfinityGAN's reference implementation
(its key `g_ema`: the moving average of the generator's weights).

- SHA-256 of the checkpoint: `{checkpoint_sha256}`
- Training patch: {px} px, {blocks} blocks.
- The checkpoint does not hold its coordinate grid; the paper's is assumed (11 cells a patch, 10
  start rows, a horizontal period of 139 cells). Correct `model.toml` if it was trained on another.

The weights are their authors'. Their licence is that of the place the checkpoint comes from; it is
not infrender's.
"""
