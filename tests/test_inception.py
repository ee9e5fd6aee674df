"""Inception from the user's file: the network of the literature, in either of its two forms."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from infinite_render.errors import ModelError, UsageError
from infinite_render.evaluation.features import InceptionSpace
from infinite_render.evaluation.inception import Inception

# Of the widespread PyTorch port of the weights: its names and shapes, and what its network gives
# for weights made by `by_rule` and the pictures of `waves` (dimensions 0, 256, 512, ...).
PORT_TENSORS = 566
PORT_NAMES = "eeafab116b1cf3f08243d1931ba765f5601f57773ada5fcfee37024cf0ca23e4"
PORT_FEATURES = [
    [7.95106, 37.75671, 16.3224, 1.32111, 0.24728, 0.70607, 14.45562, 5.52736],
    [8.29376, 36.75802, 15.60268, 1.20009, 0.21164, 0.88768, 14.77508, 5.18084],
]


def by_rule(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights that no library's random numbers can move."""
    filled = {}
    for place, key in enumerate(sorted(state)):
        tensor = state[key]
        if not tensor.is_floating_point():
            filled[key] = tensor
            continue
        steps = np.arange(1, tensor.numel() + 1, dtype=np.float64) ** 1.5
        wave = torch.from_numpy(np.cos(0.37 * (place + 3) * steps)).reshape(tensor.shape)
        if key.endswith("running_var"):
            wave = 1 + 0.5 * wave
        elif key.endswith("conv.weight") or key == "fc.weight":
            wave = wave * (4 / tensor[0].numel()) ** 0.5
        elif key.endswith("bn.weight"):
            wave = 1 + 0.2 * wave
        else:
            wave = 0.1 * wave
        filled[key] = wave.float()
    return filled


def waves() -> np.ndarray:
    """Two pictures, uint8 [2,64,48,3]."""
    index = np.arange(2 * 3 * 64 * 48).reshape(2, 3, 64, 48)
    return (127.5 + 127.5 * np.cos(0.01 * index)).astype(np.uint8).transpose(0, 2, 3, 1)


def test_the_state_dict_has_the_ports_names_and_shapes() -> None:
    state = Inception().state_dict()
    text = "".join(f"{key} {tuple(value.shape)}\n" for key, value in sorted(state.items()))
    assert len(state) == PORT_TENSORS
    assert hashlib.sha256(text.encode()).hexdigest() == PORT_NAMES


def test_a_state_dict_gives_the_ports_features(tmp_path: Path) -> None:
    state = by_rule(Inception().state_dict())
    old = {key: value for key, value in state.items() if "num_batches" not in key}
    torch.save(old | {"AuxLogits.fc.weight": torch.zeros(2)}, tmp_path / "inception.pth")
    space = InceptionSpace(tmp_path / "inception.pth")
    features = space(waves())
    assert features.shape == (2, space.dim)
    assert features[:, ::256] == pytest.approx(np.array(PORT_FEATURES), rel=1e-3, abs=1e-3)
    assert space.label == "FID"


class StandIn(nn.Module):
    """Takes pictures as the TorchScript form of the weights does; features are mean colours."""

    def forward(self, x: Tensor, return_features: bool = False) -> Tensor:
        assert x.dtype == torch.uint8
        colours = x.float().mean(dim=(2, 3))
        return colours if return_features else colours.sum(dim=1)


class Plain(nn.Module):
    """A TorchScript form that gives features, and is not asked to."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float().mean(dim=(2, 3))


@pytest.mark.parametrize("network", [StandIn(), Plain()], ids=["return_features", "plain"])
def test_torchscript_is_called_on_whole_pictures(tmp_path: Path, network: nn.Module) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the form the weights come in
        torch.jit.script(network).save(str(tmp_path / "inception.pt"))
    features = InceptionSpace(tmp_path / "inception.pt")(waves())
    assert features == pytest.approx(waves().mean(axis=(1, 2)), rel=1e-4)


def test_a_file_that_is_neither_form_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        InceptionSpace(tmp_path / "nothing.pt")
    (tmp_path / "text.pt").write_text("not weights")
    with pytest.raises(ModelError, match="neither TorchScript nor a state dict"):
        InceptionSpace(tmp_path / "text.pt")
    torch.save({"a": 1}, tmp_path / "numbers.pth")
    with pytest.raises(ModelError, match="neither TorchScript nor a state dict"):
        InceptionSpace(tmp_path / "numbers.pth")
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match=r"other\.pth lacks"):
        InceptionSpace(tmp_path / "other.pth")
