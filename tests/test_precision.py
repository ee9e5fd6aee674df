"""Rendering and training agree on where bfloat16 is native, and ask the machine."""

from __future__ import annotations

import pytest
import torch

from infinite_render.errors import UsageError
from infinite_render.precision import DTYPES, choose_precision
from infinite_render.training.state import working_dtype

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capability", "chosen"),
    [
        ("avx2", "float32"),
        ("avx512_f", "float32"),  # torch has bfloat16 there, by conversion
        ("avx512_bf16", "bfloat16"),
        ("amx_bf16", "bfloat16"),
        ("bf16", "bfloat16"),
    ],
)
def test_auto_is_bfloat16_where_the_processor_computes_in_it(
    capability: str, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True})
    assert choose_precision("auto") == chosen
    assert working_dtype("auto", CPU) == DTYPES[chosen]
    assert choose_precision("float32") == "float32"
    assert working_dtype("float32", CPU) == torch.float32
    assert choose_precision("bfloat16") == "bfloat16"
    if chosen == "bfloat16":
        assert working_dtype("bfloat16", CPU) == torch.bfloat16
    else:
        with pytest.raises(UsageError, match="cpu has no native bfloat16; use 'auto' or 'float32'"):
            working_dtype("bfloat16", CPU)


def test_a_precision_that_is_not_known_is_refused() -> None:
    with pytest.raises(UsageError, match="--precision float64 is unknown; use auto, float32 or"):
        choose_precision("float64")
