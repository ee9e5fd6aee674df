"""The network against numbers of the published implementation, and the checkpoint importer."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pickle
import random
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import random_generator
from torch import Tensor

from infinite_render.config import GeneratorConfig
from infinite_render.errors import ModelError, OutputError
from infinite_render.models import load_model
from infinite_render.nn.generator import Generator, build_generator
from infinite_render.reference import (
    convert,
    import_model,
    our_name,
    read_checkpoint,
    their_name,
)

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


# The importer


SIZES = {4: 101, 5: 197, 6: 389, 7: 773}


def state_of_reference(blocks: int, layers: int = 4, mapping: int = 8) -> dict[str, Tensor]:
    """A published generator's state dict, in its names and shapes, of few channels."""
    spec = json.loads((VECTORS / "patch101_11x11.json").read_text())["state_dict"]
    config = GeneratorConfig(
        global_dim=6,
        local_dim=5,
        structure_dim=4,
        structure_layers=layers,
        structure_radius=3,
        texture_dims=(4, 4, 3, 3, 2, 2, 2)[:blocks],
        mapping_layers=mapping,
    )
    state: dict[str, Tensor] = {}
    for name, value in random_generator(config).state_dict().items():
        if name.endswith("noise_strength"):
            value = value.reshape(1)
        elif name.endswith("to_rgb.bias"):
            value = value.reshape(1, 3, 1, 1)
        elif name.endswith("conv.weight"):
            value = value[None]
        state[their_name(name)] = value
    if blocks == 4 and layers == 4:
        learnt = {key for key in spec if our_name(key) is not None}
        assert state.keys() == learnt
        assert all(state[key].ndim == len(spec[key]["shape"]) for key in learnt)
    for i in range(2 * blocks):
        state[f"texture_synthesizer.noises.noise_{i}"] = torch.zeros(1, 1, 3, 3)
    for i in range(0, 2 * blocks, 2):
        state[f"texture_synthesizer.convs.{i}.conv.blur.kernel"] = torch.ones(3, 3)
    return state


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def refused(path: Path, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_the_two_names_of_a_tensor_lead_to_each_other() -> None:
    spec = json.loads((VECTORS / "patch101_11x11.json").read_text())["state_dict"]
    names = {key: name for key in spec if (name := our_name(key)) is not None}
    assert len(set(names.values())) == len(names) > 50
    for key, name in names.items():
        assert their_name(name) == key


@pytest.mark.parametrize("blocks", SIZES)
def test_the_sizes_of_a_checkpoint_are_inferred(blocks: int, tmp_path: Path) -> None:
    content = {
        "g_ema": state_of_reference(blocks),
        "g": {"unused": torch.zeros(2)},
        "d": {},
        "iter": 800_000,
        "best_fid": 11.2,
        "names": ["landscape"],
    }
    config, state = read_checkpoint(saved(tmp_path / "best_fid.pth.tar", content))
    assert config.patch_px == SIZES[blocks]
    assert (config.blocks, config.structure_layers, config.structure_radius) == (blocks, 4, 3)
    assert (config.global_dim, config.local_dim, config.structure_dim) == (6, 5, 4)
    assert (config.mapping_layers, config.start_rows, config.period_cells) == (8, 10, 139)
    generator = build_generator(config)
    generator.load_state_dict(state)
    cells, margin = config.patch_cells, 2 * config.structure_margin_cells
    if blocks == 4:
        z_local = torch.randn(1, 5, cells + margin, cells + margin)
        image, _ = generator(torch.randn(1, 6), z_local, z_local[:, :3])
        assert image.shape == (1, 3, 101, 101)


@pytest.mark.parametrize(("layers", "mapping"), [(1, 1), (2, 0), (6, 3)])
def test_other_depths_are_inferred_too(layers: int, mapping: int) -> None:
    config, _ = convert(state_of_reference(4, layers, mapping))
    assert (config.structure_layers, config.mapping_layers) == (layers, mapping)


def test_a_state_dict_alone_is_accepted(tmp_path: Path) -> None:
    state = state_of_reference(4)
    alone = read_checkpoint(saved(tmp_path / "alone.pt", state))
    inside = read_checkpoint(saved(tmp_path / "inside.pt", {"g_ema": state}))
    assert alone[0] == inside[0]
    assert all(torch.equal(alone[1][key], inside[1][key]) for key in inside[1])
    legacy = tmp_path / "legacy.pt"
    torch.save({"g_ema": state}, legacy, _use_new_zipfile_serialization=False)
    assert read_checkpoint(legacy)[0] == inside[0]


def test_a_checkpoint_without_the_average_says_what_it_holds(tmp_path: Path) -> None:
    refused(saved(tmp_path / "a.pt", {"g": {}, "d": {}}), "has no 'g_ema'; it holds: g, d")
    refused(saved(tmp_path / "b.pt", {}), "has no 'g_ema'; it holds: nothing")
    refused(saved(tmp_path / "c.pt", torch.zeros(3)), "has no 'g_ema'; it holds: Tensor")
    refused(saved(tmp_path / "d.pt", {"g_ema": [1]}), "'g_ema' of .* is not a state dict")
    refused(saved(tmp_path / "e.pt", {"g_ema": {"a": 1}}), "'g_ema' of .* is not a state dict")
    refused(saved(tmp_path / "f.pt", {"g_ema": {}}), "lacks 'structure_synthesizer")
    refused(tmp_path / "nowhere.pt", "does not exist")


@pytest.mark.parametrize(
    "key",
    [
        "texture_synthesizer.convs.3.activate.bias",
        "texture_synthesizer.convs.2.conv.weight",
        "texture_synthesizer.to_rgbs.1.bias",
        "texture_synthesizer.mapping.2.weight",
        "structure_synthesizer.implicit_model.conv_stack.0.conv.conv.weight",
        "structure_synthesizer.implicit_model.conv_stack.2.conv.conv.modulation.bias",
    ],
)
def test_a_missing_tensor_is_named_as_the_checkpoint_would(key: str, tmp_path: Path) -> None:
    state = state_of_reference(4)
    del state[key]
    refused(saved(tmp_path / "a.pt", {"g_ema": state}), f"the checkpoint lacks '{re.escape(key)}'")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (
            "texture_synthesizer.convs.3.activate.bias2",
            "is not a tensor of the reference's generator",
        ),
        ("conv1.weight", "'conv1.weight' is not a tensor of the reference's generator"),
        ("texture_synthesizer.mapping.20.weight", "lacks 'texture_synthesizer.mapping"),
        ("texture_synthesizer.to_rgbs.9.bias", "lacks 'texture_synthesizer.convs.8.conv.weight'"),
    ],
)
def test_an_extra_tensor_is_explained(key: str, said: str, tmp_path: Path) -> None:
    state = state_of_reference(4) | {key: torch.zeros(3)}
    refused(saved(tmp_path / "a.pt", {"g_ema": state}), said)


@pytest.mark.parametrize("shape", [(), (3,), (4, 4), (1, 4, 4, 3, 3, 3), (1, 9, 9, 3, 3)])
def test_a_tensor_that_does_not_fit_is_named(shape: tuple[int, ...], tmp_path: Path) -> None:
    for number in (0, 3):
        key = f"texture_synthesizer.convs.{number}.conv.weight"
        state = state_of_reference(4) | {key: torch.zeros(shape)}
        refused(saved(tmp_path / "a.pt", {"g_ema": state}), r"texture_synthesizer.* (shape|has)")


class Code:
    """What a pickle runs when it is loaded by the rules of old."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (self.command,)


def test_a_checkpoint_that_holds_code_is_refused_and_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    content = {"g_ema": state_of_reference(4), "args": Code(f"touch {ran}")}
    refused(saved(tmp_path / "new.pt", content), r"holds more than tensors \(\w+\.system\)")
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    refused(tmp_path / "old.pt", r"holds more than tensors \(\w+\.system\)")
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps(content["args"], protocol=2))
    refused(tmp_path / "bare.pkl", "checkpoint")
    assert not ran.exists()
    pickle.loads((tmp_path / "bare.pkl").read_bytes())
    assert ran.exists()  # the code was there to be run


def test_objects_of_other_classes_are_refused_by_name(tmp_path: Path) -> None:
    content = {"g_ema": {}, "args": argparse.Namespace(lr=1)}
    refused(saved(tmp_path / "a.pt", content), r"\(argparse.Namespace\).*'g_ema' alone")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_plain_pickle_is_refused_as_one_and_not_run(protocol: int, tmp_path: Path) -> None:
    ran, path = tmp_path / "ran", tmp_path / "a.pth"
    path.write_bytes(pickle.dumps({"g_ema": {"a": 1}}, protocol))
    refused(path, "is a plain pickle, which could run code.*save its 'g_ema' alone by torch.save")
    path.write_bytes(pickle.dumps({"g_ema": Code(f"touch {ran}")}, protocol))
    refused(path, "could run code, .*was not loaded.*'g_ema' alone")
    assert not ran.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_later_protocol_of_pickle_is_named(zipped: bool, tmp_path: Path) -> None:
    path, content = tmp_path / "a.pth", {"g_ema": argparse.Namespace(lr=1)}
    torch.save(content, path, pickle_protocol=4, _use_new_zipfile_serialization=zipped)
    refused(path, "protocol 4 or 5.*save its 'g_ema' alone by torch.save with its own protocol")


@pytest.mark.parametrize(
    "text",
    [
        "<!DOCTYPE html>\n<html>",
        "version https://git-lfs.github.com/spec/v1\nsize 5\n",
        "hello",
        '{"a": 1}',
        "é" * 4000,
    ],
)
def test_text_in_place_of_a_checkpoint_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_text(text, "utf-8")
    refused(tmp_path / "a.pth", "damaged or no checkpoint: it holds text.*; fetch the checkpoint")


def test_what_is_no_file_to_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(tmp_path, "is a folder; give the checkpoint file itself")
    refused(tmp_path / "nowhere.pth", "does not exist; give the path")
    (tmp_path / "empty.pth").touch()
    refused(tmp_path / "empty.pth", "is damaged: it is empty; fetch it again")
    monkeypatch.setattr("infinite_render.reference.why_unreadable", lambda _: "Permission denied")
    refused(tmp_path / "empty.pth", "cannot be read: Permission denied; make it readable")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_checkpoint_is_one_line(zipped: bool, tmp_path: Path) -> None:
    path, drawn = tmp_path / "a.pt", random.Random(1)
    torch.save({"g_ema": state_of_reference(4)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for part in (0, 1, 10, 1000, len(whole) // 2, len(whole) - 100):
        path.write_bytes(whole[:part])
        refused(path, "is damaged")
    path.write_text("a page of text, not a checkpoint\n" * 50)
    refused(path, "is damaged or no checkpoint")
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(drawn.choice([1, 4, 20])):
            damaged[drawn.randrange(3000)] = drawn.randrange(256)
        path.write_bytes(damaged)
        said = ""
        try:
            read_checkpoint(path)
        except ModelError as error:
            said = str(error)
        assert "\n" not in said


def test_an_imported_model_is_a_model(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path / "best_fid.pth.tar", {"g_ema": state_of_reference(5)})
    recipe = import_model(checkpoint, tmp_path / "models" / "ours")
    model = load_model(tmp_path / "models" / "ours")
    assert model.recipe == recipe
    assert (recipe.name, recipe.generator.patch_px) == ("ours", 197)
    assert recipe.trained["imported_from"] == "best_fid.pth.tar"
    expected = convert(state_of_reference(5))[1]
    state = model.generator.state_dict()
    assert all(torch.equal(state[key], expected[key]) for key in expected)
    card = (model.folder / "card.md").read_text()
    assert "best_fid.pth.tar" in card
    assert hashlib.sha256(checkpoint.read_bytes()).hexdigest() in card


def test_a_model_is_not_imported_over_anything(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path / "a.pt", {"g_ema": state_of_reference(4)})
    with pytest.raises(OutputError, match="is not an empty folder"):
        import_model(checkpoint, tmp_path)
    with pytest.raises(OutputError, match="is not an empty folder"):
        import_model(tmp_path / "nowhere", checkpoint)
    with pytest.raises(ModelError, match="does not exist"):
        import_model(tmp_path / "nowhere", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(OutputError, match="cannot be written"):
        import_model(checkpoint, checkpoint / "inside")
    (tmp_path / "empty").mkdir()
    assert import_model(checkpoint, tmp_path / "empty").name == "empty"
