"""Each term of the objective against a worked example or a numerical derivative."""

import math

import pytest
import torch
from torch import Tensor

from infinite_render.training import losses


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_the_logistic_losses_of_a_worked_example() -> None:
    real, fake = column(1.0, 3.0), column(-2.0, 0.0)
    critic = (math.log1p(math.exp(-2)) + math.log(2)) / 2
    critic += (math.log1p(math.exp(-1)) + math.log1p(math.exp(-3))) / 2
    generator = (math.log1p(math.exp(2)) + math.log(2)) / 2
    assert losses.logistic_critic(real, fake).item() == pytest.approx(critic)
    assert losses.logistic_generator(fake).item() == pytest.approx(generator)


def test_the_hinge_losses_of_a_worked_example() -> None:
    real, fake = column(0.25, 3.0), column(-2.0, 0.5)
    assert losses.hinge_critic(real, fake).item() == pytest.approx((0 + 1.5) / 2 + (0.75 + 0) / 2)
    assert losses.hinge_generator(fake).item() == pytest.approx(0.75)


@pytest.mark.parametrize("kind", sorted(losses.ADVERSARIAL))
def test_both_networks_want_opposite_things_of_a_fake(kind: str) -> None:
    real, fake = column(0.3, -0.2), column(0.1, -0.4).requires_grad_(True)
    judged, fooled = losses.ADVERSARIAL[kind]
    slopes = [torch.autograd.grad(loss, fake)[0] for loss in (judged(real, fake), fooled(fake))]
    assert (slopes[0] > 0).all()
    assert (slopes[1] < 0).all()


def test_the_gradient_penalty_of_a_linear_critic_is_half_its_squared_weights() -> None:
    weight = torch.randn(3, 2, 2, dtype=torch.float64)
    images = torch.randn(5, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    logit = (images * weight).sum(dim=(1, 2, 3))[:, None]
    penalty = losses.gradient_penalty([logit], images)
    assert penalty.item() == pytest.approx(weight.square().sum().item() / 2, rel=1e-6)
    both = losses.gradient_penalty([logit, logit.expand(-1, 4)], images)  # heads add up
    assert both.item() == pytest.approx(4 * penalty.item(), rel=1e-6)


def test_the_gradient_penalty_has_the_numerical_derivative() -> None:
    images = torch.randn(3, 1, 2, 2, dtype=torch.float64, requires_grad=True)

    def penalty(w: Tensor) -> Tensor:
        logit = torch.tanh((images * w).sum(dim=(1, 2, 3)))[:, None]
        gradient = torch.autograd.grad(logit.sum(), images, create_graph=True)[0]
        ours = losses.gradient_penalty([logit], images)
        assert ours.item() == pytest.approx(gradient.square().sum().item() / 6, rel=1e-5)
        return ours.double()

    w = torch.randn(1, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(penalty, (w,), eps=1e-3, atol=1e-3)


def test_path_lengths_of_a_linear_painter() -> None:
    # rgb = sum over styles of w . direction: the length of each style's gradient is known.
    w = torch.randn(2, 3, 4, requires_grad=True)
    base = torch.randn(3, 4, 3 * 2 * 2)
    rgb = torch.einsum("nsd,sdp->np", w, base).view(2, 3, 2, 2)
    direction = torch.randn_like(rgb)
    expected = torch.einsum("sdp,np->nsd", base, direction.view(2, -1)) / 2  # sqrt(2 * 2)
    expected = expected.square().sum(dim=2).mean(dim=1).sqrt()
    lengths = losses.path_lengths(rgb, w, direction)
    torch.testing.assert_close(lengths, expected)
    penalty = losses.path_penalty(lengths, torch.tensor(1.5))
    assert penalty.item() == pytest.approx((expected - 1.5).square().mean().item(), rel=1e-5)


def test_position_error_is_the_mean_absolute_one() -> None:
    predicted, true = torch.tensor([0.5, -1.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    assert losses.position_error(predicted, true).item() == pytest.approx(2.5 / 3)


def test_diversity_of_a_worked_example() -> None:
    local = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 2.0)
    structure = torch.zeros(1, 1, 1, 2), torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    assert losses.diversity(local, structure).item() == pytest.approx(1 / (0.5 / 2 + 1e-5))


def test_diversity_pushes_structures_apart_and_the_faithful_fault_pulls_them_together() -> None:
    torch.manual_seed(0)
    local = torch.randn(4, 2, 5, 5), torch.randn(4, 2, 5, 5)
    first, second = torch.randn(4, 3, 3, 3), torch.randn(4, 3, 3, 3)

    def slope(faithful: bool) -> float:
        apart = torch.zeros((), requires_grad=True)
        moved = second + apart * (second - first)
        loss = losses.diversity(local, (first, moved), faithful=faithful)
        return float(torch.autograd.grad(loss, apart)[0])

    assert slope(faithful=False) < 0  # farther apart costs less
    assert slope(faithful=True) > 0  # fault 1: a similarity is taken for a distance


def test_the_faithful_angle_is_no_number_where_a_cosine_rounds_over_one() -> None:
    same = torch.randn(64, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    angles = losses.angular_similarity(same, same)
    assert angles.isnan().any()
    torch.testing.assert_close(angles.nan_to_num(1.0), torch.ones(64), atol=1e-3, rtol=0)
    other = same + 1
    assert losses.diversity((same, other), (same, same), faithful=True).isnan()
    assert losses.diversity((same, other), (same, same)).isfinite()


def test_overshoot_counts_only_what_bytes_would_clip() -> None:
    rgb = torch.tensor([[-1.5, -1.0], [0.2, 3.0]]).view(1, 1, 2, 2)
    assert losses.overshoot(rgb).item() == pytest.approx((0.25 + 4.0) / 4)
