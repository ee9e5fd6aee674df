"""The precision that convolutions work in: bfloat16 where the machine has it natively."""

from __future__ import annotations

import torch

from infinite_render.errors import UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def has_native_bfloat16(device: str = "cpu") -> bool:
    """Whether bfloat16 convolutions run in hardware, not by conversion, on `device`."""
    if device != "cpu":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def choose_precision(precision: str, device: str = "cpu") -> str:
    """Resolve "auto" to bfloat16 where it is native and to float32 elsewhere; check any other."""
    if precision == "auto":
        return "bfloat16" if has_native_bfloat16(device) else "float32"
    if precision not in DTYPES:
        raise UsageError(f"--precision {precision} is unknown; use auto, {' or '.join(DTYPES)}")
    return precision
