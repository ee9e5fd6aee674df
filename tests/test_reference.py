"""The network against numbers of the published implementation, and the checkpoint importer."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from infinite_render.nn.generator import Generator, build_generator
from infinite_render.reference import convert

VECTORS = Path(__file__).parent / "vectors"


def fill(name: str, shape: list[int]) -> np.ndarray:
    """The rule the vectors were made by: values named by a string, not stored."""
    philox = np.random.Philox(key=zlib.crc32(name.encode()))
    return np.random.Generator(philox).standard_normal(shape)


def reference_state(spec: dict) -> dict[str, Tensor]:
    state = {}
    for key, entry in spec["state_dict"].items():
        value = np.zeros(entry["shape"])
        if "scale" in entry:
            value = fill(key, entry["shape"]) * entry["scale"] + entry["offset"]
        state[key] = torch.from_numpy(np.asarray(value))
    return state


def paint(name: str, generator: Generator, spec: dict) -> tuple[Tensor, Tensor, Tensor]:
    h, w = spec["structure_cells"]
    margin = 24
    dims = spec["global_latent_dim"], spec["local_latent_dim"]
    z_global = torch.from_numpy(fill(f"{name}/z_global", [1, dims[0]])).float()
    z_local = torch.from_numpy(fill(f"{name}/z_local", [1, dims[1], h + margin, w + margin]))
    c = torch.from_numpy(np.tanh(fill(f"{name}/coords", [1, 3, h + margin, w + margin])))
    noise = [
        torch.from_numpy(fill(f"{name}/noise{i}", [1, 1, *size])).float()
        for i, size in enumerate(spec["noise_sizes"])
    ]
    with torch.no_grad():
        image, structure = generator(z_global, z_local.float(), c.float(), noise=noise)
        return image[0], structure[0], generator.style(z_global)[0, 0]


@pytest.mark.parametrize("name", ["patch101_11x11", "patch101_13x17"])
def test_the_generator_reproduces_the_published_one(name: str) -> None:
    spec = json.loads((VECTORS / f"{name}.json").read_text())
    expected = np.load(VECTORS / f"{name}.npz")
    config, state = convert(reference_state(spec))
    assert config.patch_px == spec["patch"]
    generator = build_generator(config)
    generator.load_state_dict(state)
    for got, key in zip(paint(name, generator, spec), ("image", "structure", "style"), strict=True):
        error = np.abs(got.numpy() - expected[key]).max()
        assert error <= 1e-4 * expected[key].std(), f"{key}: {error / expected[key].std():.2e} std"
