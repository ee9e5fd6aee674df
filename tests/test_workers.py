"""Memory that is kept: what a worker frees and takes again costs no fresh pages."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from infinite_render.rendering import workers

TAKE_AND_FREE = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
import torch
from infinite_render.rendering.workers import keep_freed_memory

kept = sys.argv[1] == "kept" and keep_freed_memory()

def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(40 << 18)  # 40 MiB: past glibc's own largest threshold
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(2)
print(kept, faults(30))
"""


def run(mode: str) -> tuple[bool, int]:
    """Whether memory was kept, and the page faults of taking 40 MiB thirty times."""
    command = [sys.executable, "-c", TAKE_AND_FREE, mode]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return said[0] == "True", int(said[1])


def test_kept_memory_is_taken_again_without_faults() -> None:
    kept, faults = run("kept")
    assert kept == (platform.libc_ver()[0] == "glibc")
    _, faults_before = run("given back")
    assert not kept or faults < 0.1 * faults_before


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.ctypes, "CDLL", lambda _: object())
    assert not workers.keep_freed_memory()
