"""The code is as ruff and mypy want it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("tool", [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]])
def test_the_tools_have_nothing_to_say(tool: list[str]) -> None:
    where = [".", "--no-cache"] if tool[0] == "ruff" else []
    done = subprocess.run(
        [sys.executable, "-m", *tool, *where], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
