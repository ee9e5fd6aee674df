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
from landscapes import toy_recipe, write_landscapes

from infinite_render.config import format_toml
from infinite_render.errors import UsageError
from infinite_render.models import load_model
from infinite_render.training.checkpoints import load_newest
from infinite_render.training.distributed import ALONE, Ranks
from infinite_render.training.recipes import CriticConfig

RUN = """
import gc
import sys
from pathlib import Path

import torch
from infinite_render.training.distributed import join, leave
from infinite_render.training import loop
from landscapes import toy_recipe
from torch.nn.parallel import DistributedDataParallel

def watched(state, recipe, batch, rows, ranks):
    last[:] = state, ranks
    return train_step(state, recipe, batch, rows, ranks)

last, train_step = [], loop.train_step
loop.train_step = watched
torch.set_num_threads(1)
ranks = join(torch.device("cpu"))
loop.REPORT_SECONDS = 1e9  # one line in the log: means over all steps
recipe = toy_recipe(batch=16, images=64, interval_images=64)
events = list(loop.train(Path(sys.argv[1]), recipe, Path(sys.argv[2]), ranks=ranks))
assert bool(events) == ranks.writes, events

state, sharing = last
if ranks.count == 1:
    assert sharing is ranks and not sharing.shared
else:
    assert list(sharing.shared) == [state.generator, state.critic]
    assert all(isinstance(whole, DistributedDataParallel) for whole in sharing.shared.values())
    mine = torch.cat([tensor.reshape(-1) for tensor in state.tensors().values()])
    all_of = [torch.empty_like(mine) for _ in range(ranks.count)]
    torch.distributed.all_gather(all_of, mine)
    assert torch.equal(*all_of), "the processes hold different weights"
    torch.distributed.barrier()  # neither goes while the other still asks it for its weights
last.clear()
del state, sharing  # what meets in the group goes before the group does, as it does in a run
gc.collect()
leave()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def environment() -> dict[str, str]:
    """Where a process finds the package and the tests' own modules."""
    here = Path(__file__).parent
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parent)])}


def launch(count: int, data: Path, out: Path) -> None:
    shared = {
        **environment(),
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
        _, told = process.communicate(timeout=300)
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
    # Adam's own tensors too: its steps would hide gradients summed instead of averaged.
    assert alone[0].keys() == together[0].keys()
    for prefix in ("generator.", "critic.", "averaged.", "generator_adam.", "critic_adam."):
        names = [name for name in alone[0] if name.startswith(prefix)]
        one, two = (torch.cat([t[n].reshape(-1) for n in names]) for t in (alone[0], together[0]))
        assert float((one - two).norm() / one.norm()) < 1e-3, prefix
    # A weight that R1 or the path length does not reach is not moved by it, in two as in one.
    steps = [name for name in alone[0] if name.endswith(".step")]
    assert len({float(alone[0][name]) for name in steps}) > 1
    assert all(torch.equal(alone[0][name], together[0][name]) for name in steps)


def test_the_command_trains_in_two_processes_and_resumes_in_one(tmp_path: Path) -> None:
    data, out = write_landscapes(tmp_path / "in", 4), tmp_path / "out"
    critic = CriticConfig(kind="projected", head_dim=8, input_px=64)
    toy = toy_recipe(batch=16, images=32, interval_images=32, critic=critic, shared_fakes=True)
    recipe = tmp_path / "toy.toml"
    recipe.write_text(format_toml(toy), "utf-8")
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port"]
    for launcher, images in (([*torchrun, str(free_port())], 32), ([], 48)):
        command = [sys.executable, *launcher, "-m", "infinite_render", "train", str(data)]
        given = ["--recipe", str(recipe), "--images", str(images), "--out", str(out)]
        done = subprocess.run(
            [*command, *given, "--no-quality", "--threads", "1"],
            env={**environment(), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        told = done.stdout + done.stderr
        assert done.returncode == 0, told
        assert told.count(f"{images} images shown") == 1, told  # rank 0 speaks for all
        assert "find_unused_parameters" not in told
        assert "Grad strides" not in told
    assert "resumed at 32 images" in told
    assert load_model(str(out / "model")).recipe.trained["images"] == 48


def test_what_is_refused_to_the_first_process_ends_the_other_without_a_word(
    tmp_path: Path,
) -> None:
    data, taken = write_landscapes(tmp_path / "in", 4), tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.txt").write_text("mine")
    recipe = tmp_path / "toy.toml"
    recipe.write_text(format_toml(toy_recipe(batch=16)), "utf-8")
    command = ["-m", "infinite_render", "train", str(data), "--recipe", str(recipe)]
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, *command, "--out", str(taken), "--threads", "1"],
            env={**environment(), **where, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    told = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [2, 2], told
    assert told[0].strip() == f"infrender: --out {taken} exists and is no training run; " + (
        "choose another folder"
    )
    assert told[1] == ""


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
    network = torch.nn.Linear(1, 1)
    assert ALONE.sharing(network) is ALONE
    ALONE.backward(network(torch.full((1, 1), 3.0)).sum(), network)
    assert network.weight.grad is not None
    assert network.weight.grad.tolist() == [[3.0]]
    assert ALONE.any([True, False], torch.device("cpu")) == [True, False]
    with pytest.raises(UsageError, match="as it was"), ALONE.together(torch.device("cpu")):
        raise UsageError("as it was")
