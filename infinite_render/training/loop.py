"""The training loop: from a folder of photographs to a model folder, safe to stop at any moment.

    photographs -> cache -> patches -> steps -> checkpoints, sheets, log -> model

It yields what happens (`events.py`) and draws nothing. To resume, call it again: everything random
follows from the seed and the images shown, so a resumed run is the run that was never interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from infinite_render.errors import DataError, InfrenderError, TrainingError
from infinite_render.nn.generator import Generator
from infinite_render.training import events, runs
from infinite_render.training.checkpoints import load_newest, save_checkpoint, writing
from infinite_render.training.data import (
    Heights,
    Listing,
    Photographs,
    Prefetched,
    cache_path,
    list_photographs,
    read_photographs,
)
from infinite_render.training.detail_recipe import DetailRecipe
from infinite_render.training.distributed import ALONE, Ranks
from infinite_render.training.journal import Journal
from infinite_render.training.recipes import TrainRecipe
from infinite_render.training.sheets import write_sheets
from infinite_render.training.state import State, build_state
from infinite_render.training.steps import train_step

REPORT_SECONDS = 2.0  # between two Progress events, about


def train(
    data: Path,
    recipe: TrainRecipe,
    out: Path,
    *,
    device: torch.device | None = None,
    ranks: Ranks = ALONE,
    start: str | None = None,
    allow_changed_data: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    quality: Callable[[Generator], float] | None = None,
) -> Iterator[events.Event]:
    """Train `recipe` on the photographs under `data`, in the folder `out`, or resume there.

    start: a model folder or name whose weights a new run begins with. should_stop is asked after
    every step. quality measures the averaged generator every interval, lower is better; where it
    raises one of our errors a Notice says so, and it is not asked again.
    Raises DataError, RecipeError, UsageError, ModelError for bad input, OutputError where nothing
    can be written, TrainingError when the disk is full or a loss is no number; the last checkpoint
    is whole in every case.
    """
    device = torch.device("cpu") if device is None else device
    rows = ranks.rows(recipe.batch, paired=recipe.paired)
    listing = list_photographs(data, without=out)
    with ExitStack() as stack:
        # The run's folder, and the photographs decoded into it: rank 0 writes, the others wait.
        with ranks.together(device):
            if ranks.writes:
                stack.enter_context(runs.locked(out))
                runs.open_run(out, recipe, listing, allow_changed_data=allow_changed_data)
                for event in _decoded(data, listing, recipe, out):
                    yield event
                    if ranks.count == 1 and should_stop():
                        yield events.Stopped(0, out)
                        return
        batches = _batches(listing, recipe, out, rows)
        stack.callback(batches.close)

        state = build_state(recipe, device)
        lines = _resumed(state, recipe, out, start)
        yield from map(events.Notice, lines if ranks.writes else [])
        ranks = ranks.sharing(state.generator, state.critic)

        journal = None
        if ranks.writes:
            with writing(out):
                journal = Journal(out, state.images)
            stack.callback(journal.close)
        meter, course = Meter(ranks), Course(recipe, state.images)
        stopped = False
        while state.images < recipe.images and not stopped:
            # One step, on every process.
            meter.add(train_step(state, recipe, batches.batch(state.images), rows, ranks))
            stopped, due = ranks.any((should_stop(), course.due), device)
            whole = course.ends_interval(state.images)
            ending = stopped or state.images >= recipe.images

            # Losses, for the eye and the log; a term that is no number ends the run here.
            if due or whole or ending:
                progress = course.report(state.images, meter.read(course.last_good))
                if journal is not None:
                    with writing(out):
                        journal.write_progress(progress)
                    yield progress

            # A checkpoint and the model as it stands; a sheet and a figure every interval.
            if whole or ending:
                with ranks.together(device):
                    if ranks.writes:
                        yield _saved(state, recipe, listing, out, course)
                    if journal is not None and not stopped:
                        yield from _sheets(state, recipe, out)
                        figure = _figure(state, journal, quality)
                        quality = None if isinstance(figure, events.Notice) else quality
                        yield from [figure] if figure is not None else []

        if ranks.writes:
            yield _ended(state, recipe, listing, out, course)


def _decoded(
    data: Path, listing: Listing, recipe: TrainRecipe, out: Path
) -> Iterator[events.Event]:
    """Decode the photographs into the run's cache; a run that has none leaves nothing behind."""
    cache = out / runs.CACHE
    try:
        with writing(cache):
            yield from read_photographs(
                data, listing, Heights.of(recipe), recipe.generator.patch_px, cache
            )
    except DataError:
        runs.forget(out)
        raise


def _batches(listing: Listing, recipe: TrainRecipe, out: Path, rows: list[int]) -> Prefetched:
    """These rows of the recipe's batches, read ahead from the run's cache."""
    patch_px = recipe.generator.patch_px
    path = cache_path(out / runs.CACHE, listing, Heights.of(recipe), patch_px)
    photographs = Photographs(path, patch_px)
    draw = partial(
        photographs.batch,
        recipe.seed,
        rows=rows,
        size=recipe.batch,
        flip=recipe.data.flip,
        outside=recipe.outside,
    )
    return Prefetched(draw, recipe.batch)


def _resumed(state: State, recipe: TrainRecipe, out: Path, start: str | None) -> list[str]:
    """Load the newest whole checkpoint, else a model's weights, else nothing; tells which."""
    newest = load_newest(out / runs.CHECKPOINTS)
    if newest is not None:
        tensors, images, problems = newest
        state.load(tensors, images)
        return [*problems, f"resumed at {state.images:,} images"]
    return [] if start is None else runs.start_from(state, recipe, start)


def _saved(
    state: State, recipe: TrainRecipe, listing: Listing, out: Path, course: Course
) -> events.Saved:
    """Write a checkpoint and the model as it stands; TrainingError for weights that are none."""
    check_weights(state, course.saved_images)
    folder = save_checkpoint(out / runs.CHECKPOINTS, state.tensors(), state.images)
    course.saved_images = state.images
    runs.write_model(out, recipe, state, listing)
    return events.Saved(state.images, folder)


def _ended(
    state: State, recipe: TrainRecipe, listing: Listing, out: Path, course: Course
) -> events.Finished | events.Stopped:
    """How the run ends; a finished one has its model."""
    if state.images < recipe.images:
        return events.Stopped(state.images, out)
    if state.images == course.began_images:  # a kill may have come between checkpoint and model
        runs.write_model(out, recipe, state, listing)
    return events.Finished(state.images, out / runs.MODEL)


def _sheets(state: State, recipe: TrainRecipe, out: Path) -> Iterator[events.Sheet]:
    """Write the sample sheets of the averaged generator as it stands."""
    folder = out / runs.SHEETS
    with writing(folder):
        paths = write_sheets(state.averaged, recipe, state.device, folder, state.images)
    yield from (events.Sheet(state.images, path) for path in paths)


def _figure(
    state: State, journal: Journal, quality: Callable[[Generator], float] | None
) -> events.Quality | events.Notice | None:
    """Measure the averaged generator and log it; a Notice where that cannot be."""
    if quality is None:
        return None
    try:
        value = quality(state.averaged)
    except InfrenderError as error:  # too few photographs, or the features are not installed
        return events.Notice(f"no figure of quality: {error}")
    with writing(journal.path):
        journal.write(state.images, {"quality": value})
    return events.Quality(state.images, value)


class Course:
    """How far a run has come, how fast, and when it is to report and to save."""

    def __init__(self, recipe: TrainRecipe | DetailRecipe, images: int) -> None:
        self.recipe = recipe
        self.began_images = self.saved_images = images
        self._began_s = self._reported_s = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the last report is some time ago."""
        return time.monotonic() - self._reported_s > REPORT_SECONDS

    @property
    def last_good(self) -> str:
        """What is left when a loss is no number."""
        return f"the last checkpoint is of {self.saved_images:,} images"

    def ends_interval(self, images: int) -> bool:
        """Whether the batch that ends at `images` ends an interval, too."""
        interval = self.recipe.interval_images
        return images // interval > (images - self.recipe.batch) // interval

    def report(self, images: int, terms: dict[str, float]) -> events.Progress:
        """What to tell at `images`; the next report is due some time from now."""
        self._reported_s = time.monotonic()
        speed = (images - self.began_images) / (self._reported_s - self._began_s)
        left_s = max(0, self.recipe.images - images) / speed
        return events.Progress(images, self.recipe.images, speed, left_s, terms)


class Meter:
    """Means of the losses since they were last read; kept on the device, so that nothing waits."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, terms: dict[str, Tensor]) -> None:
        """Add one step's terms."""
        for name, term in terms.items():
            self.sums[name] = self.sums[name] + term if name in self.sums else term
            self.counts[name] = self.counts.get(name, 0) + 1

    def read(self, last_good: str) -> dict[str, float]:
        """The means over steps and processes, then start anew.

        Raises TrainingError naming the terms that are NaN or infinite.
        """
        sums = self.ranks.mean(torch.stack(list(self.sums.values())).float()).tolist()
        means = {name: s / self.counts[name] for name, s in zip(self.sums, sums, strict=True)}
        self.sums, self.counts = {}, {}
        bad = [f"{name} = {value}" for name, value in means.items() if not math.isfinite(value)]
        if bad:
            raise TrainingError(
                f"the loss is no number: {', '.join(bad)}; {last_good}; lower adam.*_rate in the "
                "recipe, or another seed, and start again"
            )
        return means


def check_weights(state: State, saved_images: int) -> None:
    """Refuse to save weights that are no numbers: TrainingError names the first."""
    for prefix, module in state.modules().items():
        for name, tensor in module.state_dict().items():
            if not bool(torch.isfinite(tensor).all()):
                raise TrainingError(
                    f"the weight {prefix}.{name} is no number after {state.images:,} images; the "
                    f"last checkpoint is of {saved_images:,} images"
                )
