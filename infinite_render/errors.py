"""What infrender raises for a mistake it can name, and the exit code each one ends a command with.

    InfrenderError            a mistake of the input: one line, exit code 2
    |-- UsageError            an argument that cannot be met (size, origin, precision, device)
    |-- RecipeError           a recipe with an unknown key or a value that cannot be
    |-- ModelError            a model that is missing, damaged, or not the one expected
    |-- DataError             photographs that are missing or cannot be read
    |-- StoreError            a store that is damaged or belongs to another picture
    |   |-- IdentityMismatch  the store was made from something else; both values are shown
    |   `-- UnreadableBlocks  some of its blocks are damaged, or not rendered yet; they are named
    |-- OutputError           a target that cannot be written
    `-- TrainingError         a run that cannot go on: a loss that is no number; exit code 1

Every message says what was given, what is allowed and what to do, on one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InfrenderError(Exception):
    """A mistake that one line explains. `exit_code` is what a command ends with."""

    exit_code = 2


class UsageError(InfrenderError):
    """An argument that cannot be met: a size, an origin, a precision, a device."""


class RecipeError(InfrenderError):
    """A recipe with an unknown key or a value that cannot be."""


class ModelError(InfrenderError):
    """A model that is missing, damaged, or not the one expected."""


class DataError(InfrenderError):
    """Photographs that are missing or cannot be read."""


class StoreError(InfrenderError):
    """A store that is damaged, or is not one of ours."""


class IdentityMismatch(StoreError):
    """A store that was made from something else; the message shows both values."""


class UnreadableBlocks(StoreError):
    """Blocks of a store that are damaged, or not rendered yet.

    blocks : (level, iy, ix) of each, level 0 being the picture itself
    """

    def __init__(self, message: str, blocks: Iterable[tuple[int, int, int]]) -> None:
        super().__init__(message)
        self.blocks = tuple(blocks)


class OutputError(InfrenderError):
    """A target that cannot be written."""


class TrainingError(InfrenderError):
    """A training run that cannot go on; its last checkpoint is whole."""

    exit_code = 1


def nearest(word: str, known: Iterable[str]) -> str:
    """The sentence's end that proposes the nearest known word: `; did you mean 'seed'?`, or ''.

    >>> nearest("sed", ["seed", "width"])
    "; did you mean 'seed'?"
    >>> nearest("zzz", ["seed", "width"])
    ''
    """
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
