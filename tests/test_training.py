"""The training run as a whole: resumed equals uninterrupted, safe to stop, clear when refused."""

import dataclasses
import errno
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from landscapes import PHOTOGRAPHS, toy_recipe, write_landscapes

from infinite_render.errors import (
    DataError,
    ModelError,
    RecipeError,
    TrainingError,
    UsageError,
)
from infinite_render.models import load_model
from infinite_render.training import checkpoints, events, losses, steps
from infinite_render.training.loop import train
from infinite_render.training.recipes import AugmentConfig, CriticConfig, TrainRecipe
from infinite_render.training.state import State, build_state

CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


def run(data: Path, recipe: TrainRecipe, out: Path, **options: object) -> list[events.Event]:
    return list(train(data, recipe, out, **options))  # type: ignore[arg-type]


def newest(out: Path) -> tuple[str, int]:
    """Digest of every tensor of the newest checkpoint, and its images."""
    loaded = checkpoints.load_newest(out / "checkpoints")
    assert loaded is not None
    tensors, images, problems = loaded
    assert not problems
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest(), images


def stop_after(images: int, recipe: TrainRecipe, out: Path) -> Callable[[], bool]:
    """A stop once so many more images were shown; it is asked at every reading and step."""
    readings = 0 if (out / "cache").is_dir() else PHOTOGRAPHS
    asked = iter(range(recipe.batch * (1 - readings), 10**9, recipe.batch))
    return lambda: next(asked) >= images


@pytest.mark.parametrize("critic", ["residual", "projected"])
def test_a_resumed_run_is_the_uninterrupted_one(
    photographs: Path, tmp_path: Path, critic: str
) -> None:
    recipe = toy_recipe()
    if critic == "projected":
        recipe = toy_recipe(
            critic=CriticConfig(kind="projected", head_dim=8, input_px=64),
            shared_fakes=True,
            precision="auto",
        )
    run(photographs, recipe, tmp_path / "whole")
    out = tmp_path / "parts"
    for more, images in ((24, 24), (32, 56)):  # between two intervals, and again
        last = run(photographs, recipe, out, should_stop=stop_after(more, recipe, out))[-1]
        assert last == events.Stopped(images, out)
    assert isinstance(run(photographs, recipe, out)[-1], events.Finished)
    assert newest(out) == newest(tmp_path / "whole")
    models = [load_model(tmp_path / name / "model").digest for name in ("whole", "parts")]
    assert models[0] == models[1]


KILLED = """
import sys, torch
from pathlib import Path
from infinite_render.training.loop import train
from landscapes import toy_recipe

torch.set_num_threads(1)
for event in train(Path(sys.argv[1]), toy_recipe(images=10**6), Path(sys.argv[2])):
    print(type(event).__name__, getattr(event, "images", 0), flush=True)
"""


def test_a_killed_run_loses_at_most_one_interval(photographs: Path, tmp_path: Path) -> None:
    out, here = tmp_path / "out", Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parent)])
    told_images = 0
    for delay_s in (0.0, 0.13):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(photographs), str(out)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert process.stdout is not None
        saved = [int(line.split()[1]) for line in _until(process.stdout, "Saved", times=2)]
        time.sleep(delay_s)
        process.kill()
        process.communicate()
        loaded = checkpoints.load_newest(out / "checkpoints")
        assert loaded is not None
        assert loaded[1] >= saved[-1] > told_images
        assert load_model(out / "model").recipe.trained["images"] >= saved[-1]
        told_images = saved[-1]
    again = train(photographs, toy_recipe(images=10**6), out)
    assert "resumed at" in str(next(again))
    again.close()


def _until(lines: Iterable[str], word: str, *, times: int) -> list[str]:
    """Lines that begin with `word`, until there were `times` of them."""
    found = (line for line in lines if line.startswith(word))
    return list(itertools.islice(found, times))


def test_what_a_run_leaves_behind(photographs: Path, tmp_path: Path) -> None:
    recipe, out = toy_recipe(), tmp_path / "run"
    told = run(photographs, recipe, out, quality=lambda generator: 12.5)
    saved = [event.images for event in told if isinstance(event, events.Saved)]
    assert saved == [32, 64, 96]
    assert len(list((out / "checkpoints").iterdir())) == 2
    assert len(list((out / "sheets").glob("patches-*.png"))) == 3
    assert len(list((out / "sheets").glob("strips-*.png"))) == 3
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert records[-1]["quality"] == 12.5
    names = {"critic", "generator", "diversity", "position_real", "path", "r1", "images_per_s"}
    assert names <= set().union(*records)
    model = load_model(out / "model")
    assert model.recipe.generator == recipe.generator
    assert model.recipe.trained["images"] == 96
    assert "photographs at 53 px" in (out / "model" / "card.md").read_text()
    assert not list(out.rglob("*.partial"))
    assert isinstance(run(photographs, recipe, out)[-1], events.Finished)  # nothing left to do


@pytest.mark.parametrize("term", ["diversity", "position_error"])
def test_a_loss_that_is_no_number_stops_the_run_and_is_named(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, term: str
) -> None:
    recipe, out = toy_recipe(), tmp_path / "run"
    run(photographs, recipe, out, should_stop=stop_after(32, recipe, out))
    before = newest(out)
    healthy = getattr(losses, term)
    monkeypatch.setattr(losses, term, lambda *a, **k: healthy(*a, **k) * float("nan"))
    with pytest.raises(TrainingError, match=f"{term.split('_')[0]}.* = nan.*checkpoint is of 32"):
        run(photographs, recipe, out)
    assert newest(out) == before


def test_weights_that_are_no_numbers_are_never_saved(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_step = steps.train_step

    def poisoned(state: State, *rest: object) -> object:
        terms = real_step(state, *rest)  # type: ignore[arg-type]
        if state.images == 64:
            with torch.no_grad():
                next(state.generator.parameters())[0] = float("inf")
        return terms

    monkeypatch.setattr("infinite_render.training.loop.train_step", poisoned)
    with pytest.raises(TrainingError, match=r"weight generator\.structure.* is no number after 64"):
        run(photographs, toy_recipe(), tmp_path / "run")
    assert newest(tmp_path / "run")[1] == 32


def test_a_full_disk_is_one_line_and_the_last_checkpoint_is_whole(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, out = toy_recipe(), tmp_path / "run"
    run(photographs, recipe, out, should_stop=stop_after(32, recipe, out))
    before = newest(out)

    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoints, "_write", full)
    with pytest.raises(TrainingError, match=r"disk of .* is full .* last checkpoint is whole"):
        run(photographs, recipe, out)
    assert newest(out) == before
    assert not list((out / "checkpoints").glob("*.partial"))


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    photographs: Path, tmp_path: Path
) -> None:
    recipe, out = toy_recipe(), tmp_path / "run"
    run(photographs, recipe, out)
    whole = newest(out)
    path = out / "checkpoints" / "000000096" / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    told = run(photographs, recipe, out)
    assert any("checksum does not fit" in str(event) for event in told)
    assert any("resumed at 64 images" in str(event) for event in told)
    assert newest(out) == whole
    for checkpoint in (out / "checkpoints").iterdir():
        (checkpoint / "state.json").unlink()
    with pytest.raises(ModelError, match="no checkpoint is left"):
        run(photographs, recipe, out)


def test_another_recipe_or_other_photographs_are_refused_with_the_difference(
    photographs: Path, tmp_path: Path
) -> None:
    recipe, out = toy_recipe(images=32), tmp_path / "run"
    run(photographs, recipe, out)
    changed = dataclasses.replace(recipe, batch=16, loss=dataclasses.replace(recipe.loss, r1=1.0))
    with pytest.raises(RecipeError, match=r"batch was 8, now 16, loss\.r1 was 10\.0, now 1\.0"):
        run(photographs, changed, out)
    more = write_landscapes(tmp_path / "more", 7)
    longer = dataclasses.replace(recipe, images=64)  # this may change
    with pytest.raises(DataError, match=r"1 added \(006\.jpg\); give .*--allow-changed-data"):
        run(more, longer, out)
    run(more, longer, out, allow_changed_data=True)
    assert newest(out)[1] == 64
    listing = out / "data.json"
    for damage in (lambda: listing.write_text("{"), listing.unlink):
        damage()
        with pytest.raises(DataError, match=r"data\.json.* is missing or damaged; .*--allow"):
            run(more, longer, out)
    run(more, longer, out, allow_changed_data=True)
    assert listing.is_file()
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="is no training run"):
        run(photographs, recipe, other)


def test_a_kill_between_the_last_checkpoint_and_its_model_is_mended(
    photographs: Path, tmp_path: Path
) -> None:
    recipe, out = toy_recipe(images=32), tmp_path / "run"
    run(photographs, recipe, out)
    digest = load_model(out / "model").digest
    shutil.rmtree(out / "model")
    assert run(photographs, recipe, out)[-1] == events.Finished(32, out / "model")
    assert load_model(out / "model").digest == digest


def test_a_run_killed_before_it_had_its_recipe_begins_again(
    photographs: Path, tmp_path: Path
) -> None:
    recipe, out = toy_recipe(images=8), tmp_path / "run"
    out.mkdir()
    for name in (".lock", "data.json", ".run.toml.partial"):
        (out / name).write_text("{}")
    assert isinstance(run(photographs, recipe, out)[-1], events.Finished)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "data.json").write_text("of somebody else")
    with pytest.raises(UsageError, match="is no training run"):
        run(photographs, recipe, mine)


def test_a_figure_of_quality_that_cannot_be_is_told_once(photographs: Path, tmp_path: Path) -> None:
    def quality(_: object) -> float:
        raise DataError("too few photographs")

    told = run(photographs, toy_recipe(images=64), tmp_path / "run", quality=quality)
    lines = [event.text for event in told if isinstance(event, events.Notice)]
    assert lines == ["no figure of quality: too few photographs"]
    assert isinstance(told[-1], events.Finished)


def test_two_processes_do_not_train_in_one_folder(photographs: Path, tmp_path: Path) -> None:
    first = train(photographs, toy_recipe(), tmp_path)
    next(first)
    with pytest.raises(UsageError, match="another process trains"):
        next(train(photographs, toy_recipe(), tmp_path))
    first.close()
    assert isinstance(run(photographs, toy_recipe(images=8), tmp_path)[-1], events.Finished)


def test_every_choice_of_the_objective_trains(photographs: Path, tmp_path: Path) -> None:
    recipe = toy_recipe(images=16, interval_images=16)
    choices = {
        "hinge": dataclasses.replace(
            recipe, loss=dataclasses.replace(recipe.loss, adversarial="hinge", r1_every=1)
        ),
        "faithful": dataclasses.replace(recipe, faithful=True),
        "augmented": dataclasses.replace(
            recipe, augment=AugmentConfig(probability=1.0), shared_fakes=True
        ),
        "truncated": dataclasses.replace(recipe, truncated=0.5, truncation=0.6),
        "padded": dataclasses.replace(
            recipe,
            generator=dataclasses.replace(
                recipe.generator,
                structure_layers=0,
                structure_dim=4,
                coordinates=False,
                padding=True,
                patch_cells=7,
                start_rows=1,
            ),
            loss=dataclasses.replace(recipe.loss, position=0.0, diversity=0.0),
        ),
    }
    for name, choice in choices.items():
        assert isinstance(run(photographs, choice, tmp_path / name)[-1], events.Finished), name
        model = load_model(tmp_path / name / "model")
        assert all(torch.isfinite(p).all() for p in model.generator.parameters())
        assert model.recipe.render.truncation == (0.6 if name == "truncated" else 1.0)


def test_the_average_halves_its_distance_in_its_half_life() -> None:
    from infinite_render.training.state import average

    recipe = toy_recipe(ema_half_life_images=32.0, ema_ramp=0.0)
    state = build_state(recipe, CPU)
    with torch.no_grad():
        for parameter in state.generator.parameters():
            parameter.add_(1.0)
    for _ in range(4):  # 4 batches of 8
        average(state, recipe)
    pairs = zip(state.averaged.parameters(), state.generator.parameters(), strict=True)
    for averaged, live in pairs:
        torch.testing.assert_close(live - averaged, torch.full_like(live, 0.5))


def test_adam_is_corrected_for_lazy_regularisation() -> None:
    recipe = toy_recipe()  # path every 2, penalty every 4
    state = build_state(recipe, CPU)
    generator, critic = state.generator_adam.param_groups[0], state.critic_adam.param_groups[0]
    assert generator["lr"] == pytest.approx(recipe.adam.generator_rate * 2 / 3)
    assert critic["lr"] == pytest.approx(recipe.adam.critic_rate * 4 / 5)
    assert critic["betas"] == (0.0, pytest.approx(0.99**0.8))


def test_the_structure_learns_at_its_share_of_the_rate(photographs: Path, tmp_path: Path) -> None:
    recipe = toy_recipe(images=32)
    half, still = (
        dataclasses.replace(recipe, adam=dataclasses.replace(recipe.adam, structure_share=share))
        for share in (0.5, 0.0)
    )
    structure, texture = (
        group["lr"] for group in build_state(half, CPU).generator_adam.param_groups
    )
    assert structure == pytest.approx(0.5 * texture)

    fresh = build_state(still, CPU).generator.state_dict()
    run(photographs, still, tmp_path / "run")
    trained = load_model(tmp_path / "run" / "model").generator.state_dict()
    for name, tensor in trained.items():
        assert torch.equal(tensor, fresh[name]) == name.startswith("structure."), name


def test_a_run_inside_its_photographs_does_not_train_on_its_own_sheets(tmp_path: Path) -> None:
    data = write_landscapes(tmp_path / "in", 3)
    recipe = toy_recipe(images=32)
    run(data, recipe, data / "run")
    longer = dataclasses.replace(recipe, images=40)
    assert isinstance(run(data, longer, data / "run")[-1], events.Finished)


def test_a_run_stopped_while_it_reads_photographs_reads_them_again(
    photographs: Path, tmp_path: Path
) -> None:
    recipe = toy_recipe(images=8)
    told = run(photographs, recipe, tmp_path / "out", should_stop=lambda: True)
    assert told == [events.Reading(1, 6), events.Stopped(0, tmp_path / "out")]
    assert not list((tmp_path / "out" / "cache").iterdir())
    assert isinstance(run(photographs, recipe, tmp_path / "out")[-1], events.Finished)
