"""Two gloo processes train as one does, and rows of a batch are shared out whole."""

import itertools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from landscapes import write_landscapes

from infinite_render.errors import UsageError
from infinite_render.training.checkpoints import load_newest
from infinite_render.training.distributed import ALONE, Ranks

RUN = """
import sys
from pathlib import Path

import torch
from infinite_render.training.distributed import join, leave
from infinite_render.training import loop
from landscapes import toy_recipe

torch.set_num_threads(1)
ranks = join(torch.device("cpu"))
loop.REPORT_SECONDS = 1e9  # one line in the log: means over all steps
recipe = toy_recipe(batch=16, images=64, interval_images=64)
events = list(loop.train(Path(sys.argv[1]), recipe, Path(sys.argv[2]), ranks=ranks))
assert bool(events) == ranks.writes, events
leave()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def launch(count: int, data: Path, out: Path) -> None:
    here = Path(__file__).parent
    shared = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)]),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": str(count),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RUN, str(data), str(out)],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    for process in processes:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    data = write_landscapes(tmp_path / "in", 4)
    for count in (1, 2):
        launch(count, data, tmp_path / str(count))
    logs = [
        [json.loads(line) for line in (tmp_path / str(n) / "log.jsonl").read_text().splitlines()]
        for n in (1, 2)
    ]
    last = [{k: v for k, v in log[-1].items() if k != "images_per_s"} for log in logs]
    assert last[0].keys() >= {"critic", "generator", "diversity", "path", "r1"}
    assert last[0] == pytest.approx(last[1], rel=2e-3)
    alone, together = (load_newest(tmp_path / str(n) / "checkpoints") for n in (1, 2))
    assert alone is not None
    assert together is not None
    assert alone[1] == together[1] == 64
    for name, tensor in alone[0].items():
        if name.startswith(("generator.", "critic.", "averaged.")):
            torch.testing.assert_close(tensor, together[0][name], rtol=2e-2, atol=2e-3, msg=name)


@pytest.mark.parametrize(("count", "batch", "paired"), [(1, 8, True), (2, 8, True), (3, 9, False)])
def test_the_rows_of_all_processes_are_the_batch(count: int, batch: int, paired: bool) -> None:
    rows = [Ranks(rank, count).rows(batch, paired=paired) for rank in range(count)]
    assert sorted(itertools.chain(*rows)) == list(range(batch))
    if paired:
        for mine in rows:
            half = len(mine) // 2
            assert [row + batch // 2 for row in mine[:half]] == mine[half:]


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(UsageError, match="batch = 32 is not divisible by 3 processes"):
        Ranks(0, 3).rows(32, paired=False)
    with pytest.raises(UsageError, match="batch = 6 is not divisible by 2 processes times 2"):
        Ranks(0, 2).rows(6, paired=True)


def test_a_process_alone_speaks_to_nobody() -> None:
    parameter = torch.ones(2, requires_grad=True)
    parameter.grad = torch.full((2,), 3.0)
    ALONE.average_gradients([parameter])
    assert parameter.grad.tolist() == [3.0, 3.0]
    assert ALONE.any([True, False], torch.device("cpu")) == [True, False]
    ALONE.wait()
