"""The folder of a training run: what is in it, whose it is, and the model that comes out of it.

OUT/run.toml       the recipe          OUT/checkpoints/   the last two
OUT/data.json      the photographs     OUT/sheets/        samples, every interval
OUT/log.jsonl      losses              OUT/model/         the averaged generator, ready to render
OUT/cache/         decoded photographs
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from infinite_render.config import (
    FLOORS,
    GeneratorConfig,
    ModelRecipe,
    RenderConfig,
    format_toml,
    parse_toml,
    to_dict,
)
from infinite_render.errors import DataError, ModelError, RecipeError, UsageError
from infinite_render.files import hold, partial_name, release, replace_file
from infinite_render.models import Model, load_model, load_weights, read_tensors, save_model
from infinite_render.training.checkpoints import list_checkpoints, writing
from infinite_render.training.critics import CRITIC, read_critic_config, save_critic
from infinite_render.training.data import Listing, listing_difference, listing_digest
from infinite_render.training.detail_recipe import DetailRecipe
from infinite_render.training.recipes import FREE_KEYS, TrainRecipe
from infinite_render.training.state import State

RUN, DATA, LOCK = "run.toml", "data.json", ".lock"
CHECKPOINTS, SHEETS, MODEL, CACHE = "checkpoints", "sheets", "model", "cache"
LAKES = "structure.lakes."  # what a generator without a shore lacks


def open_run(
    out: Path,
    recipe: TrainRecipe | DetailRecipe,
    listing: Listing,
    *,
    allow_changed_data: bool = False,
) -> None:
    """Make OUT this run's folder, or check that it is; says what differs when it is not.

    Raises RecipeError or DataError: another recipe or other photographs than the run began with.
    """
    run, data = out / RUN, out / DATA
    if run.is_file():
        began = parse_toml(type(recipe), run.read_text("utf-8"), str(run))
        differs = recipe_difference(began, recipe)
        if differs:
            raise RecipeError(
                f"--out {out} holds another run: {differs}; choose another --out, or resume it "
                f"with --recipe {run}"
            )
        if not allow_changed_data:
            _check_listing(data, listing)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        replace_file(data, lambda path: path.write_text(json.dumps(listing, indent=0), "utf-8"))
        replace_file(run, lambda path: path.write_text(format_toml(recipe), "utf-8"))


def _check_listing(data: Path, listing: Listing) -> None:
    """DataError unless `data` lists the same photographs."""
    go_on = "or --allow-changed-data to go on with these"
    try:
        began: Listing = json.loads(data.read_text("utf-8"))
    except (OSError, ValueError):
        raise DataError(
            f"{data}, which lists the photographs the run began with, is missing or damaged; "
            f"choose another --out, {go_on}"
        ) from None
    if differs := listing_difference(began, listing):
        raise DataError(
            f"the photographs are not those {data.parent} began with: {differs}; give the same "
            f"folder, {go_on}"
        )


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold OUT for this process; UsageError when another trains there, or it is no run's folder."""
    if not ((out / RUN).is_file() or not out.exists() or _hardly_begun(out)):
        raise UsageError(f"--out {out} exists and is no training run; choose another folder")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / LOCK).touch()
    try:
        held = hold(out / LOCK)
    except BlockingIOError:
        raise UsageError(f"another process trains in {out}; wait for it or stop it") from None
    try:
        yield
    finally:
        release(held)


def _hardly_begun(out: Path) -> bool:
    """Whether OUT is empty, or holds only what a run killed in `open_run` leaves there."""
    left = {LOCK, DATA, *(partial_name(Path(name)).name for name in (DATA, RUN))}
    names = {path.name for path in out.iterdir()} if out.is_dir() else {str(out)}
    return not names or (LOCK in names and names <= left)


def forget(out: Path) -> None:
    """Take back what a run without a usable photograph wrote; a run with a checkpoint stays."""
    if (out / CHECKPOINTS).exists():
        return
    shutil.rmtree(out / CACHE, ignore_errors=True)
    for name in (DATA, RUN, LOCK):
        (out / name).unlink(missing_ok=True)
    if not any(out.iterdir()):
        out.rmdir()


def recipe_difference(began: TrainRecipe | DetailRecipe, now: TrainRecipe | DetailRecipe) -> str:
    """What differs between two recipes, but for what may change on resume; '' if nothing does."""
    old, new = _flat(to_dict(began)), _flat(to_dict(now))
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return ", ".join(
        f"{key} was {old.get(key)!r}, now {new.get(key)!r}" for key in keys if key not in FREE_KEYS
    )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def write_model(out: Path, recipe: TrainRecipe, state: State, listing: Listing) -> Path:
    """Write the averaged generator and the critic as a model folder; returns it."""
    trained = {
        "images": state.images,
        "recipe": recipe.name,
        "image_px": recipe.data.image_px,
        "photographs": len(listing),
        "data_sha256": listing_digest(listing),
    }
    model = ModelRecipe(
        name=out.resolve().name,
        generator=recipe.generator,
        render=RenderConfig(truncation=recipe.model_truncation),
        trained=trained,
    )
    folder = out / MODEL
    with writing(folder):
        save_model(folder, model, state.averaged.state_dict(), card_text(recipe, state, listing))
        save_critic(folder, state.critic, recipe.critic, recipe.generator.patch_px)
    return folder


def card_text(recipe: TrainRecipe, state: State, listing: Listing) -> str:
    """The model card a run writes; data credits and licence are for its owner to add."""
    config = recipe.generator
    first_px, last_px = config.band_px
    parameters = sum(p.numel() for p in state.averaged.parameters())
    return (
        f"# {recipe.name}\n\n{recipe.about}\n\n"
        f"- Trained by `infrender train` on {len(listing)} photographs at {recipe.data.image_px} px"
        f" of height: {state.images:,} patches of {config.patch_px} px, batch {recipe.batch}.\n"
        f"- Generator: {parameters / 1e6:.2f} M parameters, {config.stride} px per cell; sky to"
        f" ground lies between rows {first_px} and {last_px} px.\n"
        f"- Data digest: {listing_digest(listing)}\n"
        "- Data licence and credits: to be written by whoever publishes this model.\n\n"
        f"## Recipe\n\n```toml\n{format_toml(recipe)}```\n"
    )


def images_shown(out: Path, start: str | None) -> int:
    """Images shown to the run in OUT, else to the model a new one starts from, else 0."""
    kept = list_checkpoints(out / CHECKPOINTS)
    if kept:
        return int(kept[-1].name)
    return 0 if start is None else _images_of(load_model(start))


def _images_of(model: Model) -> int:
    return int(model.recipe.trained.get("images", 0))


def start_from(state: State, recipe: TrainRecipe, name_or_path: str) -> list[str]:
    """Begin with the weights of a model folder, optimisers fresh; returns lines for the user.

    The images it was shown count on; its band may be cut into patches of another size.
    A recipe without a shore leaves the model's lakes out, one without floors its floors.
    Raises ModelError when the generator's sizes or its band differ.
    """
    model = load_model(name_or_path)
    if not _same_band(model.recipe.generator, recipe.generator):
        raise ModelError(
            f"model {model.name} has another generator than recipe {recipe.name!r}; "
            "give a recipe with the [generator] table of its model.toml (patch_cells may change "
            "where patch_cells + start_rows stays)"
        )
    weights = model.generator.state_dict()
    wanted, had = recipe.generator, model.recipe.generator
    left_out = [(LAKES, "lakes", "shore")] if wanted.shore is None and had.shore is not None else []
    left_out += [
        (f"{key}.", key.replace("_", " "), key)
        for key in FLOORS
        if getattr(had, key) and not getattr(wanted, key)
    ]
    for prefix, _, _ in left_out:
        weights = {name: each for name, each in weights.items() if not name.startswith(prefix)}
    for module in (state.generator, state.averaged):
        module.load_state_dict(weights)
    state.images = _images_of(model) // recipe.batch * recipe.batch
    if state.images >= recipe.images:
        raise UsageError(
            f"model {model.name} was shown {state.images:,} images already, recipe "
            f"{recipe.name!r} ends at {recipe.images:,}; give --images of more"
        )
    lines = [f"started from {model.name}, {state.images:,} images; optimisers are fresh"]
    lines += [
        f"{model.name}'s {what} are left out: recipe {recipe.name!r} names no {key}"
        for _, what, key in left_out
    ]
    path = model.folder / CRITIC
    if not path.is_file():
        return [*lines, f"{model.name} has no {CRITIC}: the discriminator starts fresh"]
    critic, patch_px = read_critic_config(model.folder)
    any_patch = critic.kind == "projected"  # it is shown patches resized, whatever their size
    if critic != recipe.critic or not (any_patch or patch_px == recipe.generator.patch_px):
        return [*lines, f"{CRITIC} is of another kind: the discriminator starts fresh"]
    load_weights(state.critic, read_tensors(path), path)
    return lines


def _same_band(one: GeneratorConfig, other: GeneratorConfig) -> bool:
    """Whether one network serves both: how its band is cut into patches may differ.

    So may lakes and floors: they can be left out, not made.
    """
    kept: dict[str, Any] = {key: getattr(one, key) if getattr(other, key) else () for key in FLOORS}
    cut = replace(
        one,
        patch_cells=other.patch_cells,
        start_rows=other.start_rows,
        shore=one.shore if other.shore is not None else None,
        **kept,
    )
    return cut == other and one.span_cells == other.span_cells
