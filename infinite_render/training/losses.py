"""The terms of the objective, each a pure function of tensors (InfinityGAN, sections 3.4 and B).

Shapes: logits [N,K] (K = 1, or the places of one projected head), positions [N], -1 to 1 over the
band, images [N,3,H,W], latents of paired samples [M,C,h,w] twice. Every function returns a float32
scalar.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-5


def logistic_critic(real: Tensor, fake: Tensor) -> Tensor:
    """Non-saturating logistic: mean softplus(fake) + softplus(-real)."""
    return F.softplus(fake).mean() + F.softplus(-real).mean()


def logistic_generator(fake: Tensor) -> Tensor:
    """Mean softplus(-fake)."""
    return F.softplus(-fake).mean()


def hinge_critic(real: Tensor, fake: Tensor) -> Tensor:
    """Mean relu(1 + fake) + relu(1 - real)."""
    return F.relu(1 + fake).mean() + F.relu(1 - real).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """-mean fake."""
    return -fake.mean()


ADVERSARIAL = {
    "logistic": (logistic_critic, logistic_generator),
    "hinge": (hinge_critic, hinge_generator),
}


def gradient_penalty(logits: list[Tensor], images: Tensor) -> Tensor:
    """Half the mean over samples of |d logit / d image|^2: R1 on real images.

    Logits of one head are averaged over places, heads are summed. Differentiable.
    """
    total = torch.stack([head.mean(dim=1).sum() for head in logits]).sum()
    (gradient,) = torch.autograd.grad(total, images, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3)).mean() / 2


def path_lengths(rgb: Tensor, w: Tensor, direction: Tensor) -> Tensor:
    """|J_w^T y| of each sample, [N]: y = direction / sqrt(H W), w [N,styles,D], averaged by style.

    Differentiable; `direction` is N(0,1) of rgb's shape.
    """
    scale = 1 / math.sqrt(rgb.shape[2] * rgb.shape[3])
    (gradient,) = torch.autograd.grad((rgb * direction).sum() * scale, w, create_graph=True)
    return gradient.float().square().sum(dim=2).mean(dim=1).sqrt()


def path_penalty(lengths: Tensor, target: Tensor) -> Tensor:
    """Mean (length - target)^2, the target a running mean without gradient."""
    return (lengths - target).square().mean()


def position_error(predicted: Tensor, position: Tensor) -> Tensor:
    """L_ar: mean |predicted - true| vertical position."""
    return (predicted - position).abs().mean()


def mean_distance(a: Tensor, b: Tensor) -> Tensor:
    """d: mean absolute difference of each pair, [M]."""
    return (a.float() - b.float()).abs().mean(dim=(1, 2, 3))


def angular_similarity(a: Tensor, b: Tensor) -> Tensor:
    """1 - acos(cosine) / pi of each pair, [M]: the reference's, unclamped, so NaN where it rounds.

    A similarity, taken for a distance: fault 1 of the reference, for `faithful` runs only.
    """
    cosine = F.cosine_similarity(a.float().flatten(1), b.float().flatten(1))
    return 1 - torch.acos(cosine) / math.pi


def diversity(
    local: tuple[Tensor, Tensor], structure: tuple[Tensor, Tensor], *, faithful: bool = False
) -> Tensor:
    """L_div: mean over pairs of 1 / (d(z_s, z_s') / d(z_l, z_l') + eps).

    local [M,L,h',w'] twice, structure [M,S,h,w] twice: pairs that share z_g and c.
    """
    distance = angular_similarity if faithful else mean_distance
    ratio = distance(*structure) / distance(*local)
    return (1 / (ratio + EPSILON)).mean()


def overshoot(rgb: Tensor) -> Tensor:
    """Mean squared excess of |rgb| over 1: what a picture of bytes would clip."""
    return F.relu(rgb.abs() - 1).square().mean()
