"""Files that appear whole or not at all: written under a temporary name, synced, renamed.

Why a file that stands there cannot be read, and how to hold one against other processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no flock; there, two processes are not told apart
    fcntl = None  # type: ignore[assignment]


def partial_name(path: Path) -> Path:
    """The temporary name beside `path`.

    >>> partial_name(Path("a/b.tif")).name
    '.b.tif.partial'
    """
    return path.with_name(f".{path.name}.partial")


def why_unreadable(path: Path) -> str:
    """What the system says when `path` is opened for reading: 'Permission denied'; '' if it can be.

    >>> why_unreadable(Path("no such file"))
    'No such file or directory'
    """
    try:
        with path.open("rb"):
            return ""
    except OSError as error:
        return error.strerror or type(error).__name__


def hold(path: Path) -> int | None:
    """A descriptor that holds a file or a folder against other processes until it is closed.

    Raises BlockingIOError where another holds it. None where the system has no such locks.
    """
    if fcntl is None:
        return None
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def release(held: int | None) -> None:
    """Let go of what `hold` gave."""
    if held is not None:
        os.close(held)


def sync_file(path: Path) -> None:
    """Have the system write a file, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, then give it the name `path`, also across a power loss."""
    temporary = partial_name(path)
    try:
        temporary.touch()
        permissions = temporary.stat().st_mode  # the user's own; some writers narrow them
        write(temporary)
        temporary.chmod(permissions)
        sync_file(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_file(path.parent)
