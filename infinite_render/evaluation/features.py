"""The spaces distances are measured in: EfficientNet-Lite0, or Inception where the user has it.

A distance on EfficientNet-Lite0 features is called by that name; only the standard Inception
weights make a Frechet distance the "FID" of the literature.
Shapes: pictures uint8 [N,H,W,3] of any one size -> features float32 [N,D].
"""

from __future__ import annotations

import hashlib
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from infinite_render.errors import ModelError, UsageError
from infinite_render.evaluation.distances import Features
from infinite_render.evaluation.inception import INCEPTION_DIM, Inception
from infinite_render.evaluation.protocols import Pictures
from infinite_render.models import load_weights, read_tensors
from infinite_render.nn.features import FINAL_DIM, load_features

Script = torch.jit.ScriptModule

LITE_PX = 160  # pictures are resized to it: half the work of 224 px, still above most patches
CHUNK = 8  # pictures in the network at once: bounds the memory of a worker


class FeatureSpace(Protocol):
    """A fixed function from a picture to a vector of `dim` numbers."""

    name: str  # with everything that changes a value: part of a cache's key
    label: str  # what a table calls the Frechet distance in this space
    dim: int

    def __call__(self, pictures: Pictures) -> Features:
        """uint8 [N,H,W,3] -> float32 [N,dim]."""


class LiteSpace:
    """The last features of EfficientNet-Lite0, pooled, float32; pictures are resized to 160 px."""

    label = "Frechet distance (EfficientNet-Lite0)"
    dim = FINAL_DIM

    def __init__(self, device: str = "cpu") -> None:
        self.name = f"efficientnet-lite0 float32 {LITE_PX} px"
        self.device = device
        self.network = load_features(torch.float32, device)

    @torch.inference_mode()
    def __call__(self, pictures: Pictures) -> Features:
        parts = []
        for start in range(0, len(pictures), CHUNK):
            x = _tensor(pictures[start : start + CHUNK]).to(self.device)
            parts.append(self.network.pooled(x.float() / 127.5 - 1, LITE_PX).cpu().numpy())
        return np.concatenate(parts)


class InceptionSpace:
    """The pool features of the standard Inception, from a file of its weights.

    TorchScript: called on uint8 [N,3,H,W], resizes by itself, with `return_features=True` where
    its forward takes that. State dict (.pth, .pt or .safetensors): the weights of our `Inception`.
    Raises ModelError for a file that is neither.
    """

    label = "FID"
    dim = INCEPTION_DIM

    def __init__(self, path: Path, device: str = "cpu") -> None:
        if not path.is_file():
            raise UsageError(f"--inception {path} does not exist; give the file of the weights")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.name = f"inception {digest}"
        self.device = device
        script = _load_script(path)
        self.network: nn.Module = (_load_inception(path) if script is None else script).to(device)
        self.arguments: dict[str, bool] = {}
        if script is not None and "return_features" in _argument_names(script):
            self.arguments = {"return_features": True}

    @torch.inference_mode()
    def __call__(self, pictures: Pictures) -> Features:
        parts = []
        for start in range(0, len(pictures), CHUNK):
            x = _tensor(pictures[start : start + CHUNK]).to(self.device)
            features: Tensor = self.network(x, **self.arguments)
            if features.ndim != 2:
                raise ModelError(
                    f"the Inception file gives features of shape {tuple(features.shape)} for "
                    f"{len(x)} pictures; it must give one vector each"
                )
            parts.append(features.float().cpu().numpy())
        return np.concatenate(parts)


def _tensor(pictures: Pictures) -> Tensor:
    """uint8 [N,H,W,3] -> uint8 [N,3,H,W]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2)


def _argument_names(script: Script) -> set[str]:
    """Names of the arguments that a TorchScript module's forward takes."""
    forward: Any = script.forward
    return {argument.name for argument in forward.schema.arguments}


def _load_script(path: Path) -> Script | None:
    """The TorchScript module of a file, or None where it holds none."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        if not any(Path(name).name == "constants.pkl" for name in archive.namelist()):
            return None
    with warnings.catch_warnings():
        # The standard weights exist as TorchScript only, deprecated or not.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            script: Script = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise ModelError(f"{path} is damaged: {str(error).splitlines()[0]}") from None
    return script.eval()


def _load_inception(path: Path) -> Inception:
    """Our Inception with the state dict of a file."""
    if path.suffix == ".safetensors":
        tensors = read_tensors(path)
    else:
        try:
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError):
            loaded = None
        if not isinstance(loaded, dict) or not all(map(torch.is_tensor, loaded.values())):
            raise ModelError(
                f"{path} is neither TorchScript nor a state dict; give the standard Inception "
                "weights in one of the two forms"
            )
        tensors = loaded
    network = Inception().eval()
    # Old ports count no batches and keep an auxiliary classifier; neither changes a feature.
    state = network.state_dict()
    kept = {key: value for key, value in tensors.items() if not key.startswith("AuxLogits.")}
    counters = {key: state[key] for key in state if key.endswith("num_batches_tracked")}
    load_weights(network, counters | kept, path)
    return network.requires_grad_(False)
