"""Training the detail ladder: from photographs, and a base model if there is one, to its weights.

    photographs -> levels -> pairs -> steps -> checkpoints, sheets, log -> detail.safetensors

It yields what happens (`events.py`) and draws nothing. To resume, call it again: everything random
follows from the seed and the images shown, so a resumed run is the run that was never interrupted.

OUT/run.toml, data.json, log.jsonl, checkpoints/, cache/    as in `runs.py`
OUT/sheets/               bicubic | ladder, 1:1, every interval
OUT/detail.safetensors    the averaged step; `install_detail` puts it into a model folder
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from infinite_render.config import ModelRecipe, format_toml, parse_toml
from infinite_render.files import replace_file
from infinite_render.models import DETAIL, RECIPE, Model, find_model
from infinite_render.training import events, runs
from infinite_render.training.checkpoints import load_newest, save_checkpoint, writing
from infinite_render.training.data import list_photographs
from infinite_render.training.detail_data import DetailPhotographs, cache_levels, levels_path
from infinite_render.training.detail_recipe import DetailRecipe
from infinite_render.training.detail_sheets import write_sheet
from infinite_render.training.detail_steps import DetailState, build_detail_state, detail_step
from infinite_render.training.distributed import ALONE
from infinite_render.training.journal import Journal
from infinite_render.training.loop import Course, Meter, check_weights
from infinite_render.training.own import OwnPictures


def train_detail(
    data: Path,
    recipe: DetailRecipe,
    out: Path,
    *,
    base: Model | None = None,
    device: torch.device | None = None,
    allow_changed_data: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[events.Event]:
    """Train the ladder's step on the photographs under `data` in the folder `out`, or resume there.

    base: a model whose pictures are climbed as well, judged without a photograph to compare with.
    should_stop is asked after every step. Raises as `loop.train` does.
    """
    device = torch.device("cpu") if device is None else device
    listing = list_photographs(data)
    zooms = recipe.detail.zooms
    with ExitStack() as stack:
        stack.enter_context(runs.locked(out))
        runs.open_run(out, recipe, listing, allow_changed_data=allow_changed_data)
        path = levels_path(out / runs.CACHE, listing, recipe.base_px, zooms, recipe.patch_px)
        with writing(path.parent):
            yield from cache_levels(data, listing, path, recipe.base_px, zooms, recipe.patch_px)
        photographs = DetailPhotographs(path, recipe.patch_px, zooms)
        own = None if base is None else OwnPictures(base, recipe.seed, device)

        # The state: the newest whole checkpoint, else a fresh one.
        state = build_detail_state(recipe, device)
        newest = load_newest(out / runs.CHECKPOINTS)
        if newest is not None:
            tensors, images, problems = newest
            state.load(tensors, images)
            yield from map(events.Notice, [*problems, f"resumed at {state.images:,} images"])
        with writing(out):
            journal = Journal(out, state.images)
        stack.callback(journal.close)

        meter, course = Meter(ALONE), Course(recipe, state.images)
        stopped = False
        while state.images < recipe.images and not stopped:
            meter.add(
                detail_step(
                    state,
                    recipe,
                    photographs.pairs(recipe.seed, state.images, recipe.batch),
                    _own_batch(own, state, recipe),
                )
            )
            stopped = should_stop()
            whole = course.ends_interval(state.images)
            ending = stopped or state.images >= recipe.images

            # Losses, for the eye and the log; a term that is no number ends the run here.
            if whole or ending or course.due:
                progress = course.report(state.images, meter.read(course.last_good))
                with writing(out):
                    journal.write_progress(progress)
                yield progress

            # A checkpoint, the weights as they stand, and a sheet.
            if whole or ending:
                check_weights(state, course.saved_images)
                folder = save_checkpoint(out / runs.CHECKPOINTS, state.tensors(), state.images)
                course.saved_images = state.images
                write_detail(out, recipe, state)
                yield events.Saved(state.images, folder)
                if not stopped:
                    with writing(out / runs.SHEETS):
                        sheet = write_sheet(
                            state.averaged, photographs, out / runs.SHEETS, state.images
                        )
                    yield events.Sheet(state.images, sheet)
        if state.images >= recipe.images:
            yield events.Finished(state.images, out / DETAIL)
        else:
            yield events.Stopped(state.images, out)


def _own_batch(own: OwnPictures | None, state: DetailState, recipe: DetailRecipe) -> Tensor | None:
    """Pictures of the base model for this step, when it is their turn."""
    every = recipe.own_every
    if own is None or not every or state.images // recipe.batch % every != every - 1:
        return None
    return own.batch(recipe.seed, state.images, recipe.batch // 2, recipe.given_px)


def write_detail(out: Path, recipe: DetailRecipe, state: DetailState) -> Path:
    """Write the averaged step as `detail.safetensors`, whole or not at all; returns it."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in state.averaged.state_dict().items()}
    # One entry: the order of several is not kept, and a file should have one hash.
    metadata = {"detail": f"{format_toml(recipe.detail)}images = {state.images}\n"}
    path = out / DETAIL
    with writing(out):
        replace_file(path, partial(save_file, tensors, metadata=metadata))
    return path


def install_detail(out: Path, model: str) -> Path:
    """Put a run's step into a model folder and its sizes into `model.toml`; returns the folder.

    Raises ModelError when there is no such model.
    """
    folder = find_model(model)
    recipe = parse_toml(DetailRecipe, (out / runs.RUN).read_text("utf-8"), str(out / runs.RUN))
    toml = folder / RECIPE
    described = parse_toml(ModelRecipe, toml.read_text("utf-8"), str(toml))
    described = dataclasses.replace(described, detail=recipe.detail)
    content = (out / DETAIL).read_bytes()
    with writing(folder):
        replace_file(folder / DETAIL, lambda path: path.write_bytes(content))
        replace_file(toml, lambda path: path.write_text(format_toml(described), "utf-8"))
    return folder
