"""Model folders: what is saved is what is loaded, every bit has its digest, damage is named."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import SMALL, SMALL_DETAIL, random_detail, random_generator, random_model
from torch import Tensor

from infinite_render import models
from infinite_render.config import GeneratorConfig, ModelRecipe, RenderConfig
from infinite_render.errors import InfrenderError, ModelError, RecipeError
from infinite_render.models import Model, known_models, load_model, model_digest, save_model

RECIPE = ModelRecipe("sea", SMALL, RenderConfig(64, 128), trained={"images": 5})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    state = random_generator(SMALL).state_dict()
    return save_model(tmp_path / "sea", RECIPE, state, "# sea\n")


def refused(folder: Path | str, said: str, kind: type[InfrenderError] = ModelError) -> str:
    with pytest.raises(kind, match=said) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_what_is_saved_is_what_is_loaded(folder: Path) -> None:
    model = load_model(folder)
    assert (model.name, model.recipe, model.folder) == ("sea", RECIPE, folder.resolve())
    expected = random_generator(SMALL).state_dict()
    state = model.generator.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)
    assert not model.generator.training
    assert not any(p.requires_grad for p in model.generator.parameters())
    assert (folder / "card.md").read_text() == "# sea\n"
    assert sorted(p.name for p in folder.iterdir()) == [
        "card.md",
        "model.safetensors",
        "model.toml",
    ]


def test_loading_draws_nothing_from_the_callers_generator(folder: Path) -> None:
    before = torch.random.get_rng_state()
    load_model(folder)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_loaded_model_does_not_change_with_its_file(folder: Path) -> None:
    model = load_model(folder)
    expected = random_model(SMALL).digest
    weights = folder / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(-1000, 2)
        file.write(bytes(1000))
    assert model.digest == expected


def test_a_model_with_a_detail_ladder_has_both_networks(folder: Path) -> None:
    step = random_detail(SMALL_DETAIL)
    recipe = replace(RECIPE, detail=SMALL_DETAIL)
    save_model(folder, recipe, random_generator(SMALL).state_dict())
    refused(folder, "detail.safetensors does not exist")
    save_file(step.state_dict(), folder / "detail.safetensors")
    model = load_model(folder)
    assert model.detail is not None
    assert torch.equal(model.detail.rgb_weight, step.rgb_weight)
    with_ladder = random_model(SMALL, detail=SMALL_DETAIL)
    assert model.digest == with_ladder.digest != random_model(SMALL).digest
    with torch.no_grad():
        model.detail.rgb_weight[0, 0] += 1e-6
    assert replace(model).digest != with_ladder.digest


def test_the_digest_is_of_every_bit_that_can_change_a_pixel() -> None:
    state = random_generator(SMALL).state_dict()
    digests = {model_digest(RECIPE, state)}
    for key in state:
        changed = {k: v.clone() for k, v in state.items()}
        flat = changed[key].reshape(-1)
        last = flat.view(torch.int32)
        last[-1] ^= 1
        changed[key] = flat.reshape(state[key].shape)
        digests.add(model_digest(RECIPE, changed))
    assert len(digests) == 1 + len(state)
    others = [
        replace(RECIPE, generator=replace(SMALL, cut=3.5)),
        replace(RECIPE, generator=replace(SMALL, period_cells=14)),
        replace(RECIPE, generator=replace(SMALL, start_rows=8)),
        replace(RECIPE, render=RenderConfig(128, 128)),
        replace(RECIPE, render=RenderConfig(64, 256)),
        replace(RECIPE, detail=SMALL_DETAIL),
    ]
    digests |= {model_digest(other, state) for other in others}
    assert len(digests) == 1 + len(state) + len(others)


def test_the_digest_is_of_nothing_else() -> None:
    state = random_generator(SMALL).state_dict()
    renamed = replace(RECIPE, name="lake", trained={"images": 6})
    turned = dict(reversed(state.items()))
    strided = {k: v.clone().t().contiguous().t() if v.ndim == 2 else v for k, v in state.items()}
    assert (
        len({model_digest(r, s) for r in (RECIPE, renamed) for s in (state, turned, strided)}) == 1
    )


def test_the_digest_stays_through_a_folder_of_any_name(folder: Path) -> None:
    expected = load_model(folder).digest
    again = save_model(folder.with_name("copy"), RECIPE, load_model(folder).generator.state_dict())
    assert load_model(again).digest == expected == random_model(SMALL).digest


def test_half_precision_weights_are_read_as_float32(folder: Path) -> None:
    rewrite(folder, lambda t: t.update({k: v.bfloat16() for k, v in t.items()}))
    assert {p.dtype for p in load_model(folder).generator.parameters()} == {torch.float32}


def test_a_model_is_found_by_name_among_the_known(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "models_folder", lambda: folder.parent)
    assert known_models() == ["sea"]
    assert load_model("sea").name == "sea"
    refused("see", r"unknown model 'see'; did you mean 'sea'\?; known: sea; or give the path")
    refused("", "model.toml")


def test_a_folder_without_a_recipe_is_no_model(tmp_path: Path) -> None:
    refused(tmp_path, "is no model folder: it has no model.toml")
    refused(tmp_path / "nowhere", "unknown model .*nowhere")


def test_tensors_that_do_not_fit_are_named(folder: Path) -> None:
    key = "texture.blocks.0.up.conv.weight"
    rewrite(folder, lambda t: t.update({key: t[key][:, :-1].contiguous()}))
    refused(folder, rf"{key} has shape \(8, 7, 3, 3\), model.toml asks for \(8, 8, 3, 3\)")
    rewrite(folder, lambda t: t.pop(key))
    refused(folder, rf"model.safetensors lacks {key}; model.toml asks")


def test_tensors_that_are_unknown_are_named(folder: Path) -> None:
    rewrite(folder, lambda t: t.update({"structure.layers.0.bia": torch.zeros(1)}))
    said = refused(folder, "unknown tensors structure.layers.0.bia; did you mean")
    assert "'structure.layers.0.bias'" in said


def test_many_missing_tensors_are_counted(folder: Path) -> None:
    rewrite(folder, lambda t: [t.pop(k) for k in list(t) if k.startswith("texture.")])
    refused(folder, r"lacks texture\S+, texture\S+, texture\S+ and \d+ more")


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, 0.5, -1])
def test_a_file_cut_short_is_damaged(folder: Path, keep: float) -> None:
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    refused(folder, "model.safetensors is damaged or no safetensors file")


def test_garbage_is_one_line_or_a_whole_model(folder: Path) -> None:
    """Bytes changed at random: the header is refused, a changed weight is another model."""
    file, drawn = folder / "model.safetensors", random.Random(5)
    whole, expected = file.read_bytes(), load_model(folder).digest
    for end in [8] * 10 + [2000] * 40 + [len(whole)] * 10:
        damaged = bytearray(whole)
        damaged[drawn.randrange(end)] ^= 1 << drawn.randrange(8)
        file.write_bytes(damaged)
        said = None
        try:
            assert load_model(folder).digest != expected
        except ModelError as error:
            said = str(error)
        assert said is None or "\n" not in said
    file.write_bytes(drawn.randbytes(4000))
    refused(folder, "damaged or no safetensors file")


def test_weights_that_are_not_there_are_missed(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    refused(folder, "model.safetensors does not exist; the model folder is not whole")


def test_weights_that_may_not_be_read_say_why(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "why_unreadable", lambda _: "Permission denied")  # root may read
    said = refused(folder, "model.safetensors cannot be read: Permission denied; make it readable")
    assert "damaged" not in said
    assert "exist" not in said


def test_damaged_weights_say_what_to_do(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"half")
    refused(folder, "is damaged or no safetensors file: .*; fetch or train it again$")


def test_a_recipe_that_is_wrong_is_named_with_its_file(folder: Path) -> None:
    recipe = folder / "model.toml"
    text = recipe.read_text()
    recipe.write_text(text.replace("cell_px", "cel_px"))
    refused(folder, r"model.toml: unknown key 'render.cel_px'; did you mean", RecipeError)
    recipe.write_text("= no toml")
    refused(folder, "model.toml is not TOML", RecipeError)
    recipe.write_bytes(b'name = "\xff"')
    refused(folder, "model.toml cannot be read")


def test_sizes_that_no_memory_holds_are_compared_before_they_are_made(folder: Path) -> None:
    huge = GeneratorConfig(structure_dim=65536, texture_dims=(65536,) * 3)
    recipe = replace(RECIPE, generator=huge)
    save_model(folder, recipe, random_generator(SMALL).state_dict())
    refused(folder, "has shape|lacks")


def test_saving_over_a_model_leaves_no_mixture(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(tensors: dict[str, Tensor], path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    before = load_model(folder).digest
    monkeypatch.setattr(models, "save_file", torn)
    with pytest.raises(OSError, match="disk full"):
        save_model(folder, RECIPE, random_generator(SMALL, 1).state_dict())
    assert load_model(folder).digest == before
    assert not [p for p in folder.iterdir() if "partial" in p.name]


def test_a_model_is_a_value(folder: Path) -> None:
    model = load_model(folder)
    with pytest.raises(AttributeError):
        model.name = "lake"  # type: ignore[misc]
    assert isinstance(model, Model)


def test_loading_a_model_does_not_import_torchs_symbolic_shapes() -> None:
    script = "import sys; from infinite_render.models import load_model; load_model()"
    script += "; print('sympy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
