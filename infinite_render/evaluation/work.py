"""Work spread over threads that each compute alone, its progress told to the caller.

A job's result depends on the job only, never on the number of threads: as in the renderer.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, TypeVar

from infinite_render.rendering.workers import SingleThreads

J = TypeVar("J")
R = TypeVar("R")


class Progress(NamedTuple):
    """How far one phase of an evaluation is."""

    phase: str
    done: int
    total: int


def in_threads(
    work: Callable[[J], R], jobs: Sequence[J], workers: int, phase: str, total: int | None = None
) -> Generator[Progress, None, list[R]]:
    """Results of `work` in the order of `jobs`; progress counts to `total`, by default the jobs."""
    results: list[R] = []
    total = len(jobs) if total is None else total
    yield Progress(phase, 0, total)
    with SingleThreads(workers) as pool:
        for result in pool.map(work, jobs):
            results.append(result)
            yield Progress(phase, total * len(results) // len(jobs), total)
    return results


def finish(steps: Generator[object, None, R]) -> R:
    """Run steps to their end, their progress unheard; what they return."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: R = end.value
            return result
