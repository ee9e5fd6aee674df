"""The run's log: one JSON object a line in `log.jsonl`, and TensorBoard where it is installed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from infinite_render.training.events import Progress

LOG = "log.jsonl"


class Journal:
    """Appends records of a run; opened at the images it resumes from."""

    def __init__(self, folder: Path, images: int) -> None:
        self.path = folder / LOG
        self._forget_after(images)
        self.file = self.path.open("a", encoding="utf-8")
        self.board: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=images)

    def _forget_after(self, images: int) -> None:
        """Drop lines past the checkpoint the run resumes from, and a line cut by a kill."""
        if not self.path.is_file():
            return
        kept = []
        for line in self.path.read_text("utf-8").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if record.get("images", 0) <= images:
                kept.append(line + "\n")
        self.path.write_text("".join(kept), "utf-8")

    def write(self, images: int, values: dict[str, float]) -> None:
        """Record scalars at `images` images shown."""
        rounded = {name: float(f"{value:.6g}") for name, value in values.items()}
        self.file.write(json.dumps({"images": images, **rounded}) + "\n")
        self.file.flush()
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(name, value, images)

    def write_progress(self, progress: Progress) -> None:
        """Record the losses of a Progress, and the speed."""
        self.write(progress.images, {**progress.terms, "images_per_s": progress.images_per_s})

    def close(self) -> None:
        """Close the files."""
        self.file.close()
        if self.board is not None:
            self.board.close()
