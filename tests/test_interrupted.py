"""A run that is killed, stopped or refused a disk leaves what the same command goes on with."""

from __future__ import annotations

import errno
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner
from commands import done, everything_in, infrender, sha256, started, wait_until

from infinite_render.cli.main import main

pytestmark = pytest.mark.usefixtures("here")
SIZE = ("--width", 300, "--height", 200)


def test_a_killed_run_goes_on_and_ends_with_the_same_file(
    model_folder: Path, tmp_path: Path
) -> None:
    size = ("--width", 900, "--height", 800, "--model", model_folder)
    done("generate", *size, tmp_path / "undisturbed.tif")
    command = ("generate", *size, tmp_path / "wall.tif")
    process = started(*command)
    shards = tmp_path / ".wall.tif.zarr" / "0" / "c" / "0"
    wait_until(lambda: len(list(shards.glob("*/*"))) > 12, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "wall.tif").exists()
    result = done(*command)
    assert "Mpx were there" in result.stdout
    assert sha256("wall.tif") == sha256("undisturbed.tif")
    assert sorted(everything_in(tmp_path)) == ["undisturbed.tif", "wall.tif"]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_ends_with_130_and_says_what_is_kept(
    model_folder: Path, tmp_path: Path, stop: signal.Signals
) -> None:
    command = ("generate", "--width", 4000, "--height", 3000, "--model", model_folder, "wall.tif")
    process = started(*command)
    shards = tmp_path / ".wall.tif.zarr" / "0" / "c" / "0"
    wait_until(lambda: any(shards.glob("*/*")), process)
    process.send_signal(stop)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "kept in .wall.tif.zarr, and the same command goes on" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == [".wall.tif.zarr"]
    assert any(shards.glob("*/*"))


def test_a_full_disk_is_one_line_and_exit_code_1(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "wall.zarr/0")

    monkeypatch.setattr("infinite_render.rendering.store.CanvasStore.write_block", full)
    result = infrender("generate", *SIZE, "--model", model_folder, "wall.zarr")
    assert result.exit_code == 1
    assert "No space left on device: wall.zarr/0" in result.stderr.splitlines()[-1]


def test_a_bug_is_not_hidden(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("infinite_render.rendering.scene.Scene.paint", broken)
    command = ["generate", "--width", "9", "--height", "9", "--model", str(model_folder), "a.tif"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)
