"""A convolution and its leaky ReLU in one pass over memory, where oneDNN computes them.

torch's compiler uses this operator for the same purpose; it has no public name, so a torch without
it, a device that is none of oneDNN's, or a processor on which oneDNN refuses bfloat16 (one with no
more than AVX2) gets two passes. In float32 both give the same bits; in bfloat16 one pass rounds
once and two passes twice. A picture's identity names torch's version and the machine, and so tells
them apart.
Shapes: x [1,I,h,w], weight [O,I/groups,k,k], bias [O], all of one dtype -> [1,O,h-k+1,w-k+1].
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from infinite_render.nn.ops import SLOPE


def conv_leaky(x: Tensor, weight: Tensor, bias: Tensor, groups: int = 1) -> Tensor:
    """Leaky ReLU 0.2 of the convolution of x without padding."""
    operator = _one_pass(x.dtype) if x.device.type == "cpu" else None
    if operator is None:
        activated: Tensor = F.leaky_relu_(F.conv2d(x, weight, bias, groups=groups), SLOPE)
        return activated
    return _call(operator, x, weight, bias, groups)


def _call(operator: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    padding, stride, dilation = (0, 0), (1, 1), (1, 1)
    fused: Tensor = operator(
        x, weight, bias, padding, stride, dilation, groups, "leaky_relu", (SLOPE,), ""
    )
    return fused


@cache
def _one_pass(dtype: torch.dtype) -> Any:
    """torch's operator, if here it does to `dtype` what it did when this was written; else None."""
    x = torch.full((1, 1, 1, 2), 3.0, dtype=dtype)
    weight, bias = torch.full((1, 1, 1, 1), -5.0, dtype=dtype), torch.ones(1, dtype=dtype)
    try:
        operator = torch.ops.mkldnn._convolution_pointwise.default
        with torch.inference_mode():
            fused = _call(operator, x, weight, bias, 1)
            right = torch.allclose(fused, torch.tensor(-14 * SLOPE, dtype=dtype))
    except (AttributeError, RuntimeError, TypeError):
        return None
    return operator if right else None
