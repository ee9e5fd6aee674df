"""Owns the place a picture goes to: whether it can be written there, and how it gets its name.

A name that is there holds a whole file, or a whole tree: whatever a kill, a full disk or a power
cut leaves behind carries the temporary name, and the next run writes over it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from infinite_render.errors import OutputError
from infinite_render.files import sync_file


def remove(path: Path) -> None:
    """Remove a file or a tree; one that is not there is as good as removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_durably(path: Path, data: bytes) -> None:
    """Write `data` so that `path` holds all of it or does not change, after a power cut too.

    The bytes are synced before the rename: the other way round, a power cut could leave the final
    name on an empty file. The directory is not synced: a name that is lost is a file to be made
    again, which is what its absence says.
    """
    temporary = path.with_name(f"{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def publish(temporary: Path, target: Path) -> None:
    """Give a finished file its final name, for good: sync it, rename it, sync the directory."""
    sync_file(temporary)
    temporary.replace(target)
    sync_file(target.parent)


def free_bytes(path: Path) -> int:
    """Bytes that may still be written on the disk that holds the directory of `path`."""
    return shutil.disk_usage(path.parent).free


def human_bytes(count: int) -> str:
    """A count of bytes for the eye.

    >>> human_bytes(1536), human_bytes(3 * 2**30)
    ('1.5 KiB', '3.0 GiB')
    """
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def check_target(path: Path, need_bytes: int, *, overwrite: bool = False) -> None:
    """Refuse a target that could not be written, before anything is.

    `need_bytes` is what the plan will put on the disk of `path`, the target and its temporaries.
    A target that is there is refused unless `overwrite`; whether it is one's own, to be resumed, is
    for the caller to find out first. Raises OutputError.
    """
    directory = path.parent
    if not directory.is_dir():
        raise OutputError(f"{path}: the directory {directory} does not exist; make it first")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: no permission to write in {directory}; choose another place")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; --overwrite replaces it")
    if path.is_dir() and path.suffix != ".zarr":
        raise OutputError(f"{path} is a directory; choose another name")
    free = free_bytes(path)
    if need_bytes > free:
        raise OutputError(
            f"{path} needs about {human_bytes(need_bytes)} of disk and {directory} has "
            f"{human_bytes(free)} free; make room, or choose a smaller size or another disk"
        )
