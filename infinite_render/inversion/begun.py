"""An inversion that was stopped: a file from which the same one goes on, to the same bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from infinite_render.errors import DataError
from infinite_render.files import replace_file

BEGUN, VERSION = "infrender_begun", 1


class Begun(NamedTuple):
    """Where an inversion stood: its tensors by name, and plain values."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]


def save_begun(path: Path, begun: Begun, question: str) -> None:
    """Write it as safetensors, whole or not at all; `question` tells this inversion from others."""
    header = {"question": _versioned(question), "values": begun.values}
    metadata = {BEGUN: json.dumps(header)}
    tensors = {name: values.contiguous() for name, values in begun.tensors.items()}
    replace_file(path, lambda target: save_file(tensors, target, metadata))


def load_begun(path: Path, question: str) -> Begun | None:
    """What was kept of the same inversion; None where nothing was.

    Raises DataError for a file that is damaged or of another inversion.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})[BEGUN])
            if header["question"] != _versioned(question):
                raise DataError(f"{path} is of another inversion")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return Begun(tensors, dict(header["values"]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path} is damaged ({reason})") from None


def _versioned(question: str) -> str:
    return f"{VERSION} {question}"
