"""Says in rows of (name, value) what a model, a store, a picture or a training run is.

Spaces: px of the plane of a depth, cells of the local latents.
"""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

from infinite_render.config import GeneratorConfig, ModelRecipe, parse_toml
from infinite_render.errors import ModelError, nearest
from infinite_render.geometry import Span
from infinite_render.models import CARD, RECIPE, Model, find_model, known_models, load_model
from infinite_render.nn.coordinates import row_of
from infinite_render.rendering.exports import FORMS, size_on_disk
from infinite_render.rendering.plan import BlockPlan, max_depth
from infinite_render.rendering.recipe import PictureRecipe, read_recipe
from infinite_render.rendering.store import open_store
from infinite_render.rendering.targets import human_bytes
from infinite_render.training.detail_recipe import DetailRecipe
from infinite_render.training.journal import LOG
from infinite_render.training.recipes import TrainRecipe
from infinite_render.training.runs import CHECKPOINTS, MODEL, RUN, SHEETS

Rows = list[tuple[str, object]]
_OPENS = re.compile(r"#|[-*+] |\|")  # a heading, a list item, a row of a table


def describe(what: str) -> tuple[str, Rows]:
    """(title, rows) of the model of that name, or of what stands at that path.

    Raises ModelError where there is neither, and what reading it raises.
    """
    path = Path(what)
    if (path / "zarr.json").is_file():
        return describe_store(path)
    if (path / RUN).is_file():
        return describe_run(path)
    if path.is_file():
        return f"picture {path}", _picture_rows(path)
    if path.exists() and not (path / RECIPE).is_file():
        raise ModelError(f"{path} is no model, store, picture or training run of infrender")
    try:
        find_model(what)
    except ModelError:
        known = known_models()
        raise ModelError(
            f"{what}: no file, and no model of that name{nearest(what, known)}; "
            f"known models: {', '.join(known) or 'none'}"
        ) from None
    return describe_model(load_model(what))


def describe_model(model: Model) -> tuple[str, Rows]:
    """What a model is, what it costs, and how far an edit reaches."""
    recipe = model.recipe
    generator = recipe.generator
    parameters = sum(p.numel() for p in model.generator.parameters())
    first_px, stop_px = generator.band_px
    rows: Rows = [
        ("folder", model.folder),
        ("digest", model.digest),
        ("parameters", f"{parameters:,}"),
        ("training patch", f"{generator.patch_px} px, {generator.patch_cells} cells"),
        ("a cell of latents", f"{generator.stride} px"),
        *_drift_row(generator),
        *_style_row(recipe),
        *_relief_row(recipe),
        *_lakes_row(recipe),
        *_floors_row(generator),
        ("structure", f"{generator.structure_layers} layers of {generator.structure_dim} channels"),
        ("texture", f"{' '.join(map(str, generator.texture_dims))} channels"),
        ("cells, blocks", f"{recipe.render.cell_px} px, {recipe.render.block_px} px"),
        ("truncation", recipe.render.truncation),
        ("band shown in training", f"rows {first_px} to {stop_px - 1} px"),
    ]
    if model.detail is not None:
        steps = sum(p.numel() for p in model.detail.parameters())
        rows.append(("detail ladder", f"{steps:,} parameters, {_zooms(recipe)} zooms trained"))
    rows += [_depth_row(recipe, depth) for depth in range(_deepest(recipe) + 1)]
    rows += [(key.replace("_", " "), value) for key, value in recipe.trained.items()]
    if licence := _licence(model.folder / CARD):
        rows.append(("licence", licence))
    return f"model {model.name}", rows


def _depth_row(recipe: ModelRecipe, depth: int) -> tuple[str, object]:
    plan = BlockPlan(recipe.generator, recipe.render, recipe.detail, depth)
    return (
        f"depth {depth}",
        f"{plan.ideal_macs_per_px / 1e3:.1f} kMAC a pixel, times {plan.waste:.3f}; "
        f"one latent reaches {plan.reach_px.size} px",
    )


def _lakes_row(recipe: ModelRecipe) -> Rows:
    generator = recipe.generator
    if generator.shore is None:
        return []
    row = row_of(generator.shore, cut=generator.cut, span_cells=generator.span_cells)
    more = BlockPlan(generator, recipe.render).water_macs_per_px / 1e3
    text = (
        f"they mirror what stands above row {generator.stride * row:.0f} px, where they begin; "
        f"at most {more:.1f} kMAC a pixel more at depth 0"
    )
    return [("lakes", text)]


def _floors_row(generator: GeneratorConfig) -> Rows:
    kept = {
        "styles": generator.floors,
        "coarse styles": generator.coarse_floors,
        "layouts": generator.layout_floors,
        "drifts": generator.drift_floors,
    }
    return [
        (f"floors of {what}", f"{', '.join(names)}: truncated ones are kept up to a least of each")
        for what, names in kept.items()
        if names
    ]


def _drift_row(generator: GeneratorConfig) -> Rows:
    if generator.drift == 0:
        return []
    text = f"{generator.drift:g} of them, over {generator.drift_cells} cells"
    return [("drift of latents", text)]


def _style_row(recipe: ModelRecipe) -> Rows:
    render = recipe.render
    if render.style_drift == 0:
        return []
    text = f"{render.style_drift:g} of it, over {render.style_cells} cells"
    rows: Rows = [("drift of the style", text)]
    if render.fine_drift is not None:
        text = f"{render.fine_drift:g} of it, over {render.fine_cells} cells"
        rows.append(("drift of fine styles", text))
    return rows


def _relief_row(recipe: ModelRecipe) -> Rows:
    if recipe.render.relief == 0:
        return []
    px = recipe.render.relief * recipe.generator.stride
    return [("relief", f"land is some {px:.0f} px high or low at depth 0")]


def _zooms(recipe: ModelRecipe) -> int:
    return recipe.detail.zooms if recipe.detail is not None else 0


def _deepest(recipe: ModelRecipe) -> int:
    return max_depth(recipe.generator, recipe.render, recipe.detail)


def affected_px(plan: BlockPlan) -> Span:
    """The px of the plan's depth, along one axis, that the local latent of cell 0 can change."""
    return plan.reach_px


def _licence(card: Path) -> str:
    """The first paragraph of a card that says what the weights may be used for; '' for none."""
    if not card.is_file():
        return ""
    parts = _paragraphs(card.read_text("utf-8", "replace"))
    said = (part for part in parts if re.match(r"weights:", part, re.I) or "licen" in part.lower())
    return next(said, "")


def _paragraphs(text: str) -> list[str]:
    r"""Each paragraph, heading, list item and table row of a Markdown text, on one line.

    >>> _paragraphs("# Sea\n\n- One item\n  in two lines\n- Another")
    ['Sea', 'One item in two lines', 'Another']
    """
    parts: list[str] = []
    goes_on = False
    for line in map(str.strip, text.splitlines()):
        if goes_on and line and not _OPENS.match(line):
            parts[-1] += f" {line}"
        elif line:
            parts.append(line)
        goes_on = line != "" and not line.startswith("#")
    return [part.strip(" -*#") for part in parts]


def describe_store(path: Path) -> tuple[str, Rows]:
    """What a store holds and how far it is."""
    with open_store(path) as store:
        blocks = store.grid()[0] * store.grid()[1]
        done = blocks - len(store.blocks_left())
        rows: Rows = [
            ("levels", f"{store.levels}, down to {store.shapes[-1][1]} x {store.shapes[-1][0]} px"),
            ("blocks", f"{done} of {blocks} of {store.block_px} px are done"),
            ("on the disk", human_bytes(size_on_disk(path))),
        ]
        if store.damaged:
            rows.append(("damaged", f"{len(store.damaged)} blocks; they will be painted again"))
        if store.pixel_size_um is not None:
            rows.append(("pixel size", f"{store.pixel_size_um} micrometres"))
    return f"store {path}", _recipe_rows(read_recipe(path)) + rows


def _picture_rows(path: Path) -> Rows:
    recipe = read_recipe(path)
    form = FORMS.get(path.suffix.lower())
    rows: Rows = [("form", form.name)] if form is not None else []
    return rows + _recipe_rows(recipe) + [("on the disk", human_bytes(size_on_disk(path)))]


def _recipe_rows(recipe: PictureRecipe) -> Rows:
    y, x, height, width = recipe.window
    rows: Rows = [("size", f"{width} x {height} px (width x height)"), ("origin", f"{y},{x}")]
    return rows + [(key.replace("_", " "), value) for key, value in recipe.identity.items()]


def describe_run(path: Path) -> tuple[str, Rows]:
    """How far a training run, of a generator or of a detail ladder, is and what it trains."""
    text, source = (path / RUN).read_text("utf-8", "replace"), str(path / RUN)
    is_ladder = re.search(r"^\[detail\]", text, re.MULTILINE) is not None
    recipe: DetailRecipe | TrainRecipe = (
        parse_toml(DetailRecipe, text, source)
        if is_ladder
        else parse_toml(TrainRecipe, text, source)
    )
    last = _last_record(path / LOG)
    rows: Rows = [
        ("trains", "a detail ladder" if is_ladder else "a generator"),
        ("recipe", recipe.name),
        ("images shown", f"{int(last.pop('images', 0)):,} of {recipe.images:,}"),
        ("batch", recipe.batch),
        ("checkpoints", _newest(path / CHECKPOINTS)),
        ("sheets", _newest(path / SHEETS)),
    ]
    rows += [(f"last {name}", value) for name, value in last.items()]
    if (path / MODEL / RECIPE).is_file():
        rows.append(("model", f"{path / MODEL}: paint with it by --model"))
    return f"training run {path}", rows


def _last_record(log: Path) -> dict[str, Any]:
    """The last whole line of a run's log; a run that is going on may be half way through one."""
    lines = log.read_text("utf-8").splitlines() if log.is_file() else []
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            return dict(json.loads(line))
    return {}


def _newest(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.glob("[!.]*")) if folder.is_dir() else []
    return f"{len(names)} in {folder}, the last {names[-1]}" if names else "none yet"
