"""`infrender train`: one line for a mistake, a checkpoint on Ctrl-C, a model that renders."""

import contextlib
import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from commands import done, infrender, started, wait_until
from landscapes import toy_recipe, write_landscapes

from infinite_render.config import format_toml
from infinite_render.training.recipes import known_recipes


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    return write_landscapes(tmp_path / "photographs", 5)


def recipe_file(folder: Path, **changes: object) -> Path:
    path = folder / "toy.toml"
    path.write_text(format_toml(toy_recipe(quality_samples=16, **changes)), "utf-8")
    return path


def refused(*arguments: object) -> str:
    """The one line of a command that must be refused."""
    result = infrender(*arguments)
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_a_trained_model_renders_at_once(photographs: Path, tmp_path: Path) -> None:
    recipe, out = recipe_file(tmp_path, images=32), tmp_path / "out"
    told = done("train", photographs, "--recipe", recipe, "--out", out, "--threads", 1)
    assert "32 images shown" in told.stdout
    assert "quality" in told.stderr
    assert '"quality"' in (out / "log.jsonl").read_text()
    picture = tmp_path / "strip.png"
    done("generate", "--width", 64, "--height", 48, "--model", out / "model", picture)
    assert picture.is_file()


def test_ctrl_c_writes_a_checkpoint_and_says_how_to_resume(
    photographs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ["train", photographs, "--out", out, "--threads", 1, "--no-quality", "--recipe"]
    process = started(*arguments, recipe_file(tmp_path, images=10**6))
    wait_until(lambda: (out / "checkpoints" / "000000032").is_dir(), process)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1].strip().splitlines()[-1]
    assert process.returncode == 130
    assert "stopped at" in told
    assert told.endswith("and the same command resumes")
    images = int(told.split("stopped at ")[1].split()[0].replace(",", ""))
    assert (out / "checkpoints" / f"{images:09d}").is_dir()
    again = done(*arguments, recipe_file(tmp_path, images=10**6), "--images", images + 8)
    assert f"resumed at {images:,} images" in again.stderr


def test_a_mistake_is_one_line_and_writes_nothing(photographs: Path, tmp_path: Path) -> None:
    empty, out = tmp_path / "empty", tmp_path / "out"
    empty.mkdir()
    assert "does not exist" in refused("train", tmp_path / "missing", "--out", out)
    assert "holds no image" in refused("train", empty, "--out", out)
    assert "unknown recipe" in refused("train", photographs, "--recipe", "pape", "--out", out)
    wide = tmp_path / "wide.toml"
    wide.write_text('[critic]\nkind = "projected"\n[data]\nimage_px = 40\n', "utf-8")
    assert "larger than its image" in refused("train", photographs, "--recipe", wide, "--out", out)
    assert not out.exists()
    (empty / "mine.txt").write_text("mine")
    recipe = recipe_file(tmp_path)
    line = refused("train", photographs, "--recipe", recipe, "--out", empty, "--no-quality")
    assert "is no training run" in line
    assert [path.name for path in empty.iterdir()] == ["mine.txt"]


def test_photographs_none_of_which_can_be_used_leave_nothing_behind(
    photographs: Path, tmp_path: Path
) -> None:
    bad, out = tmp_path / "bad", tmp_path / "out"
    bad.mkdir()
    (bad / "a.jpg").write_bytes(b"no picture")
    told = infrender("train", bad, "--recipe", recipe_file(tmp_path, images=8), "--out", out)
    assert told.exit_code == 2
    assert "a.jpg is damaged" in told.stderr.splitlines()[-1]
    assert not out.exists()
    line = refused("train", photographs, "--out", photographs)
    assert f"lies in --out {photographs}; choose another --out" in line
    # A run that has a checkpoint is not taken back.
    arguments = ["--recipe", recipe_file(tmp_path, images=8), "--out", out, "--threads", 1]
    done("train", photographs, *arguments, "--no-quality")
    again = infrender("train", bad, *arguments, "--allow-changed-data")
    assert again.exit_code == 2
    assert (out / "checkpoints" / "000000008").is_dir()


def test_ctrl_c_while_photographs_are_read_promises_no_checkpoint(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = contextlib.nullcontext(lambda: True)
    monkeypatch.setattr("infinite_render.cli.train_detail.asked_to_stop", lambda: asked)
    told = infrender(
        "train", photographs, "--recipe", recipe_file(tmp_path), "--out", tmp_path / "o"
    )
    assert told.exit_code == 130
    last = told.stderr.splitlines()[-1]
    assert last == ("infrender: stopped while reading photographs; the same command begins again")


def test_a_full_disk_is_one_line_and_no_mistake_of_the_user(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("infinite_render.training.checkpoints._write", full)
    arguments = ["--recipe", recipe_file(tmp_path, images=8), "--out", tmp_path / "out"]
    told = infrender("train", photographs, *arguments, "--no-quality", "--threads", 1)
    assert told.exit_code == 1
    assert "checkpoints is full (No space left on device)" in told.stderr.splitlines()[-1]


def test_a_dry_run_tells_speed_and_memory_and_writes_nothing(
    photographs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ["--recipe", recipe_file(tmp_path), "--out", out, "--threads", 1]
    told = done("train", photographs, *arguments, "--dry-run")
    for word in ("images/s", "GiB at the peak", "generator", "precision"):
        assert word in told.stdout
    assert not out.exists()


def test_a_dry_run_counts_what_was_shown_already(photographs: Path, tmp_path: Path) -> None:
    begun, other = tmp_path / "begun", tmp_path / "other"
    recipe = ["--recipe", recipe_file(tmp_path, images=16, interval_images=16), "--threads", 1]
    done("train", photographs, *recipe, "--no-quality", "--out", begun)
    longer = [*recipe, "--images", 96, "--dry-run"]
    for where in (["--out", begun], ["--out", other, "--from", begun / "model"]):
        assert "for 80 images after 16" in done("train", photographs, *longer, *where).stdout
    assert "for 96 images\n" in done("train", photographs, *longer, "--out", other).stdout
    assert not other.exists()


def test_the_help_names_the_recipes() -> None:
    told = done("train", "--help").stdout
    assert {"default", "tiny", "paper", "paper-hr", "paper-ur"} <= set(known_recipes())
    assert "tiny" in told


@pytest.mark.parametrize("device", ["cpu:1", "cpu:zzz", "tpu"])
@pytest.mark.parametrize("command", ["train", "train-detail"])
def test_a_device_that_is_none_is_refused(
    command: str, device: str, photographs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    line = refused(command, photographs, "--out", out, "--device", device)
    assert f"--device {device} is unknown; use cpu or cuda, or cuda:N" in line
    assert not out.exists()
