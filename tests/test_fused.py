"""A convolution and its activation in one pass: the same as in two."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from infinite_render.nn.ops import SLOPE
from infinite_render.rendering import fused
from infinite_render.rendering.fused import conv_leaky


def case(dtype: torch.dtype, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    """x, weight and bias of a convolution of 12 channels, channels last."""
    numbers = torch.Generator().manual_seed(groups)
    x = torch.randn(1, 12, 37, 41, generator=numbers)
    weight = torch.randn(12, 12 // groups, 3, 3, generator=numbers) / 6
    bias = torch.randn(12, generator=numbers)
    last = torch.channels_last
    return x.to(dtype, memory_format=last), weight.to(dtype, memory_format=last), bias.to(dtype)


def in_two_passes(x: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    return F.leaky_relu(F.conv2d(x, weight, bias, groups=groups), SLOPE)


@pytest.mark.parametrize("groups", [1, 12])
@torch.inference_mode()
def test_in_float32_one_pass_and_two_are_the_same_bits(groups: int) -> None:
    x, weight, bias = case(torch.float32, groups)
    before = x.clone()
    assert torch.equal(conv_leaky(x, weight, bias, groups), in_two_passes(x, weight, bias, groups))
    assert torch.equal(x, before)


@pytest.mark.parametrize("groups", [1, 12])
@torch.inference_mode()
def test_in_bfloat16_one_pass_rounds_once_and_is_no_farther_from_the_truth(groups: int) -> None:
    roundings = 2 if fused._one_pass(torch.bfloat16) is None else 1
    x, weight, bias = case(torch.bfloat16, groups)
    truth = in_two_passes(x.double(), weight.double(), bias.double(), groups)
    one = conv_leaky(x, weight, bias, groups)
    assert one.dtype == torch.bfloat16
    torch.testing.assert_close(one.double(), truth, rtol=roundings * 2**-8, atol=1e-5)
    two = in_two_passes(x, weight, bias, groups)
    assert (one - truth).abs().mean() <= (two - truth).abs().mean()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_without_the_operator_there_are_two_passes(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "_one_pass", lambda _: None)
    x, weight, bias = case(dtype, 1)
    assert torch.equal(conv_leaky(x, weight, bias), in_two_passes(x, weight, bias, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("error", [AttributeError, RuntimeError, TypeError])
def test_an_operator_that_refuses_is_not_used(
    dtype: torch.dtype, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Tensor:
        raise error("not of this torch")

    monkeypatch.setattr(fused, "_call", refuse)
    assert fused._one_pass.__wrapped__(dtype) is None  # type: ignore[attr-defined]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_operator_that_computes_something_else_is_not_used(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "_call", lambda *_: torch.tensor(1.0, dtype=dtype))
    assert fused._one_pass.__wrapped__(dtype) is None  # type: ignore[attr-defined]
