"""The recipe of a picture: plain JSON that says which window of which plane it shows.

It stands in the store's attributes, in the file's description and where `--recipe` asks for it;
what it holds is enough to paint the same bits again. Spaces: px of the plane of its depth.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infinite_render.errors import RecipeError
from infinite_render.files import why_unreadable
from infinite_render.geometry import Window
from infinite_render.rendering.exports import RECIPE_FILE, description_of, tiles_of
from infinite_render.rendering.store import open_store
from infinite_render.version import package_version

FORMAT = "infrender picture 1"


@dataclass(frozen=True)
class PictureRecipe:
    """A window of a plane: `identity` is everything that can change a bit of it."""

    window: Window
    identity: dict[str, Any]

    @property
    def store_identity(self) -> dict[str, Any]:
        """What a store of this picture carries beside its size."""
        return {**self.identity, "origin": [self.window.y, self.window.x]}

    def to_json(self) -> str:
        """JSON text on one line; `parse_recipe` reads it back."""
        return json.dumps(
            {
                "format": FORMAT,
                "infrender": package_version(),
                "height": self.window.height,
                "width": self.window.width,
                **self.store_identity,
            }
        )


def parse_recipe(text: str, source: str) -> PictureRecipe:
    """Read a recipe from JSON text; RecipeError, naming `source`, when it is none."""
    try:
        values = json.loads(text)
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise ValueError("it has no recipe of infrender in it")
        values.pop("infrender", None)
        y, x = values.pop("origin")
        window = Window(int(y), int(x), int(values.pop("height")), int(values.pop("width")))
    except (ValueError, KeyError, TypeError) as error:
        raise RecipeError(f"{source} is no recipe of a picture: {error}") from None
    return PictureRecipe(window, values)


def read_recipe(path: Path) -> PictureRecipe:
    """The recipe of a store, of a picture made by infrender, or of a JSON file.

    Raises RecipeError when there is none or it cannot be read, StoreError for a damaged store.
    """
    if not path.exists():
        raise RecipeError(
            f"{path} does not exist; give a recipe, a store or a picture of infrender"
        )
    if path.is_dir():
        with open_store(path) as store:
            identity = dict(store.identity)
            if "origin" not in identity:
                raise RecipeError(f"{path} carries no recipe: it says not where its picture lies")
            y, x = identity.pop("origin")
            return PictureRecipe(Window(y, x, store.height, store.width), identity)
    own = tiles_of(path) / RECIPE_FILE  # where a .dzi has it
    for file in (path, own) if path.suffix.lower() == ".dzi" and own.exists() else (path,):
        if reason := why_unreadable(file):
            raise RecipeError(f"{file} cannot be read: {reason}; make it readable")
    if path.suffix.lower() == ".json":
        return parse_recipe(path.read_text("utf-8", "replace"), str(path))
    text = description_of(path)
    if text is None:
        raise RecipeError(f"{path} carries no recipe; infrender did not write it")
    return parse_recipe(text, str(path))
