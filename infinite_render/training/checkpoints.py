"""Checkpoints: a folder each, safetensors and JSON, that appears whole or not at all.

    checkpoints/000016000/state.safetensors   every tensor of the state
    checkpoints/000016000/state.json          images shown, and a CRC-32 of the tensors

A folder is filled under a temporary name, synced, then renamed; the last two are kept. So whatever
moment a process is killed at, the newest whole checkpoint is at most one interval old.
"""

from __future__ import annotations

import errno
import json
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from infinite_render.errors import ModelError, OutputError, TrainingError
from infinite_render.files import sync_file

KEPT = 2
FORMAT = 1
TENSORS, INDEX = "state.safetensors", "state.json"
PARTIAL = ".partial"


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a full disk (TrainingError), or one not to be written (OutputError), into one line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise TrainingError(
                f"the disk of {folder} is full ({error.strerror}); the last checkpoint is whole: "
                "free some space, then run the same command to resume"
            ) from None
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from None


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
    sync_file(path)


def save_checkpoint(folder: Path, tensors: dict[str, Tensor], images: int) -> Path:
    """Write a checkpoint under `folder`, drop the oldest; returns its own folder.

    Raises TrainingError when the disk is full; the earlier checkpoints are then untouched.
    """
    target = folder / f"{images:09d}"
    partial = folder / f"{target.name}{PARTIAL}"
    content = save(tensors)
    index = {"format": FORMAT, "images": images, "crc32": zlib.crc32(content)}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"*{PARTIAL}"):
            shutil.rmtree(leftover)
        try:
            partial.mkdir()
            _write(partial / TENSORS, content)
            _write(partial / INDEX, json.dumps(index).encode())
            sync_file(partial)
            if target.exists():  # the same images again: a run resumed and stopped at once
                shutil.rmtree(target)
            partial.rename(target)
            sync_file(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        for old in list_checkpoints(folder)[:-KEPT]:
            shutil.rmtree(old)
    return target


def list_checkpoints(folder: Path) -> list[Path]:
    """Folders of checkpoints, oldest first."""
    return sorted(path for path in folder.glob("*") if path.name.isdigit())


def load_checkpoint(checkpoint: Path) -> tuple[dict[str, Tensor], int]:
    """(tensors, images) of one checkpoint; ModelError when it is damaged."""
    try:
        index = json.loads((checkpoint / INDEX).read_text("utf-8"))
        content = (checkpoint / TENSORS).read_bytes()
        if index["format"] != FORMAT:
            raise ModelError(
                f"checkpoint {checkpoint} has format {index['format']}, this program reads {FORMAT}"
            )
        if zlib.crc32(content) != index["crc32"]:
            raise ModelError(f"checkpoint {checkpoint} is damaged: its checksum does not fit")
        return load(content), int(index["images"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(f"checkpoint {checkpoint} is damaged: {error}") from None


def load_newest(folder: Path) -> tuple[dict[str, Tensor], int, list[str]] | None:
    """(tensors, images, what was wrong with newer ones) of the newest whole checkpoint.

    None when there is no checkpoint; ModelError when all are damaged.
    """
    problems: list[str] = []
    for checkpoint in reversed(list_checkpoints(folder)):
        try:
            return *load_checkpoint(checkpoint), problems
        except ModelError as error:
            problems.append(str(error))
    if problems:
        raise ModelError("; ".join(problems) + "; no checkpoint is left to resume from")
    return None
