"""The run's log: what is written is read back, as JSON lines and by TensorBoard itself."""

from __future__ import annotations

import json
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from infinite_render.training.journal import LOG, Journal


def test_tensorboard_reads_the_scalars_of_a_run(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 0)
    for images in (32, 64):
        journal.write(images, {"critic": images / 2, "generator": 0.25})
    journal.close()
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert sorted(board.Tags()["scalars"]) == ["critic", "generator"]
    assert [(e.step, e.value) for e in board.Scalars("critic")] == [(32, 16.0), (64, 32.0)]


def test_a_resumed_log_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    journal = Journal(tmp_path, 0)
    for images in (32, 64, 96):
        journal.write(images, {"critic": 1.0})
    journal.close()
    with (tmp_path / LOG).open("a") as log:
        log.write('{"images": 12')  # cut by a kill
    resumed = Journal(tmp_path, 64)
    resumed.write(96, {"critic": 2.0})
    resumed.close()
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [(line["images"], line["critic"]) for line in lines] == [(32, 1), (64, 1), (96, 2)]
