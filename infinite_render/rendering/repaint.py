"""From the recipe of a picture back to the canvas it was painted from, or to why that cannot be."""

from __future__ import annotations

from pathlib import Path

from infinite_render.errors import IdentityMismatch, ModelError, RecipeError
from infinite_render.fields.described import styles_from_plain
from infinite_render.fields.latents import LatentField, SeededLatents
from infinite_render.fields.reseeded import ReseededLatents, reseeds_from_plain
from infinite_render.models import load_model
from infinite_render.rendering.canvas import Canvas
from infinite_render.rendering.layout import differences
from infinite_render.rendering.recipe import PictureRecipe
from infinite_render.rendering.scene import Scene

MACHINE = ("device", "machine", "torch")  # what rounds otherwise, and paints the same to the eye


def canvas_of(
    recipe: PictureRecipe,
    source: Path,
    *,
    model: str | None = None,
    device: str | None = None,
    other_machine: bool = False,
) -> Canvas:
    """The canvas that `recipe`, read from `source`, describes: the same bits.

    model          where the model is, when it is not the name in the recipe
    device         where to paint, when not on the kind of device in the recipe
    other_machine  let the machine and its libraries differ: the same picture, not the same bits

    Raises RecipeError for a recipe that lacks something, ModelError for a model that is not here,
    IdentityMismatch with both values of the first difference.
    """
    there = recipe.identity
    if "pins" in there or "photographs" in there:
        raise RecipeError(
            f"{source} was painted around photographs, which its recipe does not hold; run "
            "infrender outpaint or inbetween again, with them and their .pin files"
        )
    try:
        name, seed = str(there["model"]), int(there["seed"])
        depth, precision = int(there["depth"]), str(there["precision"])
        place = device or str(there["device"])
        truncation = float(there["truncation"])
        wrap_cells = None if "wrap_cells" not in there else int(there["wrap_cells"])
    except (KeyError, TypeError, ValueError) as error:
        raise RecipeError(f"{source} is no recipe that can be painted again: {error}") from None
    try:
        loaded = load_model(model or name)
    except ModelError as error:
        if model is not None:
            raise
        raise ModelError(
            f"{error} (it was painted by {name!r}: say where it is by --model)"
        ) from None
    latents: LatentField = SeededLatents(seed)
    if "reseeds" in there:
        latents = ReseededLatents(latents, reseeds_from_plain(there["reseeds"]))
    scene = Scene(
        loaded,
        precision=precision,
        device=place,
        latents=latents,
        styles=styles_from_plain(there["styles"]) if "styles" in there else None,
        wrap_cells=wrap_cells,
        truncation=truncation,
    )
    canvas = Canvas(scene, recipe.window, depth)
    for key, old, new in differences(there, scene.identity(depth)):
        if key == "model" or (other_machine and key in MACHINE):
            continue  # a model may be called anything; its digest is compared
        hint = "; --other-machine paints it, to the eye the same" if key in MACHINE else ""
        raise IdentityMismatch(f"{source} says {key} {old}, here it is {new}{hint}")
    return canvas
