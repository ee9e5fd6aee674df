"""Where cells are computed: the device, and threads that keep torch to one thread.

The bits of a convolution depend on its shape, its thread count and the vector instructions it is
computed with; what cannot be fixed here is named here, for a picture's identity.
"""

from __future__ import annotations

import os
import platform
import re
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from types import TracebackType

import torch

from infinite_render.errors import UsageError

_VECTORS = ("avx2", "avx512_f", "avx512_bf16", "amx_bf16", "neon", "bf16", "sve", "sve2")
_DEVICE = re.compile(r"cpu|cuda(?::(0|[1-9][0-9]{0,8}))?")
_ISA_LIMIT = "ONEDNN_MAX_CPU_ISA"  # a user may hold torch's convolutions to fewer instructions


def machine() -> str:
    """The architecture and the vector instructions at hand: each set rounds in its own way.

    The same convolutions under AVX2, AVX-512 and AMX differ in their last bits.
    """
    capabilities = torch.cpu.get_capabilities()
    names = [platform.machine(), *(name for name in _VECTORS if capabilities.get(name))]
    if _ISA_LIMIT in os.environ:
        names.append(f"at most {os.environ[_ISA_LIMIT]}")
    return " ".join(names)


def choose_device(device: str) -> str:
    """Check that `device` (cpu, cuda, cuda:N) is there, and make it exact; else UsageError."""
    known = _DEVICE.fullmatch(device)
    if known is None:
        raise UsageError(
            f"--device {device} is unknown; use cpu or cuda, or cuda:N for the CUDA device of "
            "that number, from 0"
        )
    if device == "cpu":
        return device
    if not torch.cuda.is_available():
        raise UsageError(f"--device {device}: this machine has no usable CUDA device; use cpu")
    if known[1] is not None and int(known[1]) >= (count := torch.cuda.device_count()):
        there = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise UsageError(f"--device {device} is not there; this machine has {there}")
    # Of the whole process: float32 that is float32, and one algorithm a shape.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return device


def _use_one_thread() -> None:
    """Let torch compute on this thread alone, by the same rules whoever started it."""
    # A thread that has never asked for the number takes that of the process at its first operation,
    # which another render, just ended, may have put back by then: so it asks before it sets.
    torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(False)  # a thread inherits this from the one that starts it


class SingleThreads:
    """Worker threads in which torch uses one intra-op thread; the caller's setting is put back.

    The setting is in part the process's own, so of renders that overlap, the last puts it back.
    Raises UsageError for fewer than one worker.
    """

    _lock = Lock()
    _entered = 0
    _before = 1  # intra-op threads of the caller that entered first

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise UsageError(f"{workers} workers cannot paint; give 1 or more")
        self.pool = ThreadPoolExecutor(
            workers, thread_name_prefix="cell", initializer=_use_one_thread
        )

    def __enter__(self) -> ThreadPoolExecutor:
        with SingleThreads._lock:
            if not SingleThreads._entered:
                SingleThreads._before = torch.get_num_threads()
            SingleThreads._entered += 1
        return self.pool

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pool.shutdown(wait=True, cancel_futures=True)
        with SingleThreads._lock:
            SingleThreads._entered -= 1
            if not SingleThreads._entered:
                torch.set_num_threads(SingleThreads._before)
