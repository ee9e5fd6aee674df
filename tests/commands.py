"""Running infrender as a user does: in this process, or in one of its own that can be killed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner, Result
from safetensors.torch import save_file
from small_models import SMALL_DETAIL, random_model

from infinite_render.cli.main import main
from infinite_render.models import DETAIL, save_model

ROOT = Path(__file__).parent.parent


def infrender(*arguments: object) -> Result:
    """Run a command here; bugs are raised, exits are not."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def done(*arguments: object) -> Result:
    """Run a command that must succeed."""
    result = infrender(*arguments)
    assert result.exit_code == 0, result.output
    return result


def started(*arguments: object) -> subprocess.Popen[str]:
    """A command in a process of its own, in which Ctrl-C works wherever the tests run."""
    return subprocess.Popen(
        [sys.executable, "-m", "infinite_render", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for a condition while a process runs; fail when it ends before."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def saved_model(folder: Path, *, detail: bool = False) -> Path:
    """A model folder with a small random generator: cells of 64 px, blocks of 128 px."""
    model = random_model(detail=SMALL_DETAIL if detail else None)
    save_model(folder, model.recipe, model.generator.state_dict(), "# A small model\n")
    if model.detail is not None:
        save_file(model.detail.state_dict(), folder / DETAIL)
    return folder


def everything_in(folder: Path) -> dict[str, bytes]:
    """Every name under a folder, hidden ones too, and what the files hold."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


def sha256(path: Path | str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def refused(*arguments: object) -> str:
    """Run a command that must end with exit code 2, one line, and nothing changed."""
    before = everything_in(Path())
    result = infrender(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("infrender: ")
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.endswith("\n")
    assert everything_in(Path()) == before
    return result.stderr.strip()
