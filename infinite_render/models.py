"""Model folders: `model.safetensors` + `model.toml` + `card.md` <-> a generator ready to render.

A model is found by name under `models/` (shipped with the package) or by the path of its folder.
Its digest, a SHA-256 of the recipe and of every tensor, names it wherever a picture is described.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from infinite_render.config import ModelRecipe, format_toml, parse_toml
from infinite_render.errors import ModelError, nearest
from infinite_render.files import replace_file, why_unreadable
from infinite_render.nn.detail import DetailStep, build_detail
from infinite_render.nn.generator import Generator, build_generator

DEFAULT_MODEL = "landscape"
WEIGHTS, RECIPE, CARD = "model.safetensors", "model.toml", "card.md"
DETAIL = "detail.safetensors"


@dataclass(frozen=True)
class Model:
    """Networks in evaluation mode, float32 on the CPU, and the recipe that says their sizes.

    `detail` is the step of the detail ladder, None for a model without one.
    """

    name: str
    folder: Path
    recipe: ModelRecipe
    generator: Generator
    detail: DetailStep | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex of everything in the model that can change a pixel."""
        state = dict(self.generator.state_dict())
        if self.detail is not None:
            state |= {f"detail.{key}": value for key, value in self.detail.state_dict().items()}
        return model_digest(self.recipe, state)


def model_digest(recipe: ModelRecipe, state: Mapping[str, Tensor]) -> str:
    """SHA-256 of the recipe's tables of sizes, and of every tensor by name."""
    digest = hashlib.sha256()
    for table in (recipe.generator, recipe.render, recipe.detail):
        digest.update(format_toml(table).encode() if table is not None else b"none")
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def models_folder() -> Path:
    """Where the shipped models are: inside the wheel, or at the top of a checkout."""
    package = Path(__file__).parent
    shipped = package / "_models"
    return shipped if shipped.is_dir() else package.parent / "models"


def known_models() -> list[str]:
    """Names of the shipped models."""
    return sorted(toml.parent.name for toml in models_folder().glob(f"*/{RECIPE}"))


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """The folder of a model; ModelError listing the known names when there is none."""
    given = Path(name_or_path)
    for folder in (models_folder() / given, given):
        if (folder / RECIPE).is_file():
            return folder
    known = known_models()
    if given.is_dir():
        raise ModelError(f"{given} is no model folder: it has no {RECIPE}")
    raise ModelError(
        f"unknown model {str(name_or_path)!r}{nearest(str(name_or_path), known)}; "
        f"known: {', '.join(known) or 'none'}; or give the path of a model folder"
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file; ModelError when it is missing, unreadable or damaged."""
    if not path.is_file():
        raise ModelError(f"{path} does not exist; the model folder is not whole")
    if reason := why_unreadable(path):  # safetensors would say that there is no such file
        raise ModelError(f"{path} cannot be read: {reason}; make it readable, or copy the model")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"{path} is damaged or no safetensors file: {error}; fetch or train it again"
        ) from None


def load_weights(module: torch.nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Fill `module`, whose parameters may be on the device "meta", in float32.

    ModelError names tensors that are missing, unknown or of another shape.
    """
    expected = module.state_dict()
    missing = sorted(expected.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - expected.keys())
    if missing:
        raise ModelError(f"{source} lacks {_some(missing)}; {RECIPE} asks for them")
    if unknown:
        hint = nearest(unknown[0], expected)
        raise ModelError(f"{source} holds unknown tensors {_some(unknown)}{hint}")
    for key, tensor in tensors.items():
        if tensor.shape != expected[key].shape:
            raise ModelError(
                f"{source}: {key} has shape {tuple(tensor.shape)}, "
                f"{RECIPE} asks for {tuple(expected[key].shape)}"
            )
    # Copies: what was read may still be the file itself, mapped into memory.
    copies = {key: tensor.to(torch.float32, copy=True) for key, tensor in tensors.items()}
    module.load_state_dict(copies, assign=any(tensor.is_meta for tensor in expected.values()))


def _some(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def load_model(name_or_path: str | os.PathLike[str] = DEFAULT_MODEL) -> Model:
    """Load a model by name or by the path of its folder.

    Raises ModelError (missing, damaged, tensors that do not fit) or RecipeError (model.toml).
    """
    folder = find_model(name_or_path)
    recipe_path = folder / RECIPE
    try:
        text = recipe_path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{recipe_path} cannot be read: {error}") from None
    recipe = parse_toml(ModelRecipe, text, str(recipe_path))
    with torch.device("meta"):  # sizes alone: weights are not drawn to be replaced
        generator = build_generator(recipe.generator)
    load_weights(generator, read_tensors(folder / WEIGHTS), folder / WEIGHTS)
    generator.eval().requires_grad_(False)
    detail = None
    if recipe.detail is not None:
        with torch.device("meta"):
            detail = build_detail(recipe.detail)
        load_weights(detail, read_tensors(folder / DETAIL), folder / DETAIL)
        detail.eval().requires_grad_(False)
    return Model(folder.resolve().name, folder.resolve(), recipe, generator, detail)


def save_model(
    folder: str | os.PathLike[str],
    recipe: ModelRecipe,
    state: Mapping[str, Tensor],
    card: str | None = None,
) -> Path:
    """Write a model folder; each file appears whole or not at all. Returns the folder."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    replace_file(target / WEIGHTS, lambda path: save_file(tensors, path))
    text = format_toml(recipe)
    replace_file(target / RECIPE, lambda path: path.write_text(text, "utf-8"))
    if card is not None:
        replace_file(target / CARD, lambda path: path.write_text(card, "utf-8"))
    return target


def save_with_weights(
    folder: str | os.PathLike[str], model: Model, state: Mapping[str, Tensor]
) -> Path:
    """Write `model` with other weights, named after its folder, its detail ladder beside them."""
    target = Path(folder)
    save_model(target, dataclasses.replace(model.recipe, name=target.name), state)
    if model.detail is not None:
        shutil.copy(model.folder / DETAIL, target)
    return target
