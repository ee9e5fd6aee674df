"""Training recipes: everything a run depends on, as frozen dataclasses, and the shipped ones.

A recipe is TOML (`models/recipes/NAME.toml`, or a file of the user's own); a key left out keeps the
default written here. Two runs of one recipe on one data set and device are the same run. The
defaults are those of the paper's objective; what small data needs is in the recipe `default`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from infinite_render.config import GeneratorConfig, parse_toml
from infinite_render.errors import RecipeError, nearest
from infinite_render.models import models_folder
from infinite_render.nn.discriminator import levels_of
from infinite_render.nn.features import MULTIPLE_PX

DEFAULT_RECIPE = "default"
MOST = 1e12  # of a weight or a number of images: what is larger, or NaN, is a mistake


def _check_range(name: str, value: float, low: float, high: float) -> None:
    """RecipeError where `value` is not in [low, high], as NaN never is."""
    if not low <= value <= high:
        raise RecipeError(f"{name} = {value} must be in [{low:g}, {high:g}]")


@dataclass(frozen=True)
class DataConfig:
    """How a photograph becomes patches."""

    image_px: int = 197  # height of the plane a patch is cut from
    zooms: tuple[float, ...] = (1.0,)  # heights drawn from, as multiples of image_px
    flip: bool = True  # mirror left to right half of the time
    outside: float = 0.0  # share of patches, real and painted, that lie partly outside the band
    outside_rows: int = 5  # by how many, at most

    def __post_init__(self) -> None:
        if not self.zooms or not all(1 <= zoom <= 100 for zoom in self.zooms):
            raise RecipeError(f"data.zooms = {list(self.zooms)} must be numbers in [1, 100]")
        _check_range("data.image_px", self.image_px, 1, 100_000)
        _check_range("data.outside", self.outside, 0, 1)

    @property
    def heights_px(self) -> tuple[int, ...]:
        """Heights at which photographs are shown, but for patches outside the band.

        >>> DataConfig(image_px=101, zooms=(1.0, 1.1, 1.21)).heights_px
        (101, 111, 122)
        """
        return tuple(round(self.image_px * zoom) for zoom in self.zooms)


@dataclass(frozen=True)
class CriticConfig:
    """The discriminator."""

    kind: Literal["residual", "projected"] = "residual"  # StyleGAN2's, or on frozen features
    dims: tuple[int, ...] = ()  # residual: channels, fine to coarse; one more than its blocks
    group: int = 4  # residual: samples that share a minibatch deviation
    head_dim: int = 96  # projected: channels of each head
    input_px: int = 96  # projected: size patches are resized to

    def __post_init__(self) -> None:
        if self.kind == "residual" and len(self.dims) < 2:
            raise RecipeError(f"critic.dims = {list(self.dims)} must be two sizes or more")
        if self.kind == "projected" and (self.input_px % MULTIPLE_PX or self.input_px < 64):
            raise RecipeError(
                f"critic.input_px = {self.input_px} must be a multiple of {MULTIPLE_PX}, from 64"
            )
        for dim in self.dims:
            _check_range("critic.dims", dim, 1, 65_536)
        if self.group < 1 or self.head_dim < 1:
            raise RecipeError("critic.group and critic.head_dim must be 1 or more")


@dataclass(frozen=True)
class LossConfig:
    """Weights of the objective; 0 leaves a term out altogether."""

    adversarial: Literal["logistic", "hinge"] = "logistic"
    position: float = 1.0  # l_ar: vertical position of real and fake
    diversity: float = 1.0  # l_div: mode seeking on pairs; 0 also drops the pairing
    r1: float = 10.0  # gradient penalty on real
    r1_every: int = 16  # steps between two penalties
    path: float = 2.0  # path length regularisation
    path_every: int = 4  # steps between two
    overshoot: float = 0.0  # squared excess of fakes over [-1, 1]
    style_mixing: float = 0.9  # probability that a sample mixes two styles

    def __post_init__(self) -> None:
        if self.r1_every < 1 or self.path_every < 1:
            raise RecipeError("loss.r1_every and loss.path_every must be 1 or more")
        _check_range("loss.style_mixing", self.style_mixing, 0, 1)
        for name in ("position", "diversity", "r1", "path", "overshoot"):
            _check_range(f"loss.{name}", getattr(self, name), 0, MOST)


@dataclass(frozen=True)
class AdamConfig:
    """Adam, before the correction for lazy regularisation."""

    generator_rate: float = 0.002
    critic_rate: float = 0.002
    structure_share: float = 1.0  # of generator_rate, for the structure synthesizer; 0: it stays
    beta1: float = 0.0
    beta2: float = 0.99

    def __post_init__(self) -> None:
        for name in ("generator_rate", "critic_rate", "structure_share"):
            _check_range(f"adam.{name}", getattr(self, name), 0, 1)
        for name in ("beta1", "beta2"):
            _check_range(f"adam.{name}", getattr(self, name), 0, 0.999999)


@dataclass(frozen=True)
class AugmentConfig:
    """What both real and fake patches undergo before the discriminator sees them."""

    probability: float = 0.0  # of each change, for each sample; 0: no augmentation
    brightness: float = 0.25  # added, at most, on the scale of [-1, 1]
    saturation: float = 0.7  # factor 1 +- this
    contrast: float = 0.3  # factor 1 +- this
    translation: float = 0.125  # of the patch, at most; the position moves along
    sharpness: float = 1.0  # factor of what differs from its surroundings, at most; 1: never
    zoom: float = 1.0  # factor by which a part of the patch is enlarged, at most; 1: never

    def __post_init__(self) -> None:
        for name in ("sharpness", "zoom"):
            _check_range(f"augment.{name}", getattr(self, name), 1, 100)
        limits = {"probability": 1, "translation": 0.5}
        for name in ("probability", "brightness", "saturation", "contrast", "translation"):
            _check_range(f"augment.{name}", getattr(self, name), 0, limits.get(name, MOST))


class Outside(NamedTuple):
    """Real patches that stand for those that lie 1, 2, ... rows outside the band; entry 0 is row 1.

    No photograph shows what is outside of it. The part of such a patch that is inside, as large as
    a whole patch, stands for it: the sky, or the ground, goes on. It is cut from the edge of the
    photograph at `heights_px`, the lowest zoom times what enlarges it. Positions are those of the
    painted patch it stands for, and so is what a shift by a pixel adds to them.
    """

    share: float  # of all patches
    heights_px: tuple[int, ...]
    above: tuple[float, ...]  # positions
    below: tuple[float, ...]
    label_per_px: float


@dataclass(frozen=True)
class TrainRecipe:
    """One training run."""

    name: str = "unnamed"
    about: str = ""  # one sentence for the reader
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    data: DataConfig = field(default_factory=DataConfig)
    critic: CriticConfig = field(default_factory=lambda: CriticConfig(dims=(64, 128, 256)))
    loss: LossConfig = field(default_factory=LossConfig)
    adam: AdamConfig = field(default_factory=AdamConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    batch: int = 16  # patches a step, over all processes
    images: int = 12_800_000  # real patches shown in all
    interval_images: int = 50_000  # between two checkpoints, sheets and figures of quality
    quality_samples: int = 1000  # patches that figure is measured on; 0: it is not
    seed: int = 0
    ema_half_life_images: float = 10_000.0
    ema_ramp: float = 0.0  # early half-life as a share of the images shown; 0: full from the start
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 where native
    shared_fakes: bool = False  # one pass of the generator serves both steps
    truncated: float = 0.0  # share of painted patches whose latents are truncated as in rendering
    truncation: float = 0.7  # psi of those patches
    faithful: bool = False  # the reference's faults 1-3, for comparison

    def __post_init__(self) -> None:
        patch_px, image_px = self.generator.patch_px, self.data.image_px
        if patch_px > image_px:
            raise RecipeError(
                f"the patch ({patch_px} px) is larger than its image (data.image_px = {image_px});"
                f" give image_px of {patch_px} or more, or fewer generator.patch_cells"
            )
        if self.data.outside > 0:
            self._check_outside()
        if self.batch < 1 or self.images < 1 or self.interval_images < 1:
            raise RecipeError("batch, images and interval_images must be 1 or more")
        if self.quality_samples < 0 or self.quality_samples == 1:
            raise RecipeError(f"quality_samples = {self.quality_samples} must be 0, or 2 or more")
        if self.paired and self.batch % 2:
            raise RecipeError(f"batch = {self.batch} must be even: the diversity loss takes pairs")
        _check_range("ema_half_life_images", self.ema_half_life_images, 1, MOST)
        _check_range("ema_ramp", self.ema_ramp, 0, MOST)
        _check_range("truncated", self.truncated, 0, 1)
        _check_range("truncation", self.truncation, 0.01, 1)  # at 0 a pair would be one picture
        if self.loss.path > 0 and self.generator.mapping_layers == 0:
            raise RecipeError(
                f"loss.path = {self.loss.path} needs generator.mapping_layers of 1 or more: path "
                "lengths are regularised in the mapping; give it layers, or loss.path = 0"
            )
        if not 0 <= self.seed < 2**63:
            raise RecipeError(f"seed = {self.seed} must be in [0, 2^63)")
        if self.critic.kind == "residual" and len(self.critic.dims) != levels_of(patch_px) + 1:
            raise RecipeError(
                f"critic.dims has {len(self.critic.dims)} sizes; a patch of {patch_px} px needs "
                f"{levels_of(patch_px) + 1}"
            )

    def _check_outside(self) -> None:
        patch_px, stride = self.generator.patch_px, self.generator.stride
        most_rows = patch_px // 2 // stride
        if not 1 <= self.data.outside_rows <= most_rows:
            allowed = f"1 to {most_rows}" if most_rows else "0, so data.outside must be 0"
            raise RecipeError(
                f"data.outside_rows = {self.data.outside_rows} must be {allowed}: at most half of "
                f"a patch of {patch_px} px, {stride} px a row"
            )
        if self.loss.position > 0 and self.generator.start_rows == 1:
            raise RecipeError(
                "generator.start_rows = 1 gives every patch one position, and data.outside = "
                f"{self.data.outside} others; give loss.position = 0, or start_rows of 2 or more"
            )

    @property
    def paired(self) -> bool:
        """Whether fakes come in pairs that share z_g and c."""
        return self.loss.diversity > 0

    @property
    def model_truncation(self) -> float:
        """psi of the patches that are truncated, so the trained model's own; 1 where none are."""
        return self.truncation if self.truncated > 0 else 1.0

    @property
    def label_per_px(self) -> float:
        """Vertical position in [-1, 1] per pixel of the painted plane."""
        return self.label_per_row / self.generator.stride

    @property
    def label_per_row(self) -> float:
        """Vertical position per row of the coordinate grid; row 0 of the band lies at -1."""
        return 2 / max(1, self.generator.start_rows - 1)

    @property
    def outside(self) -> Outside | None:
        """The patches that lie partly outside the band; None without them."""
        data, config = self.data, self.generator
        if data.outside <= 0:
            return None
        patch_px, last = config.patch_px, config.start_rows - 1
        rows = range(1, data.outside_rows + 1)
        inside = [(patch_px - config.stride * row) / patch_px for row in rows]
        return Outside(
            share=data.outside,
            heights_px=tuple(round(data.image_px * min(data.zooms) / part) for part in inside),
            above=tuple(-row * self.label_per_row - 1 for row in rows),
            below=tuple((last + row) * self.label_per_row - 1 for row in rows),
            label_per_px=self.label_per_px,
        )


FREE_KEYS = frozenset(
    {"name", "about", "images", "interval_images", "quality_samples"}
)  # may change on resume


def recipes_folder() -> Path:
    """Where the shipped recipes are."""
    return models_folder() / "recipes"


def known_recipes() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(path.stem for path in recipes_folder().glob("*.toml"))


def load_recipe(name_or_file: str | os.PathLike[str] = DEFAULT_RECIPE) -> TrainRecipe:
    """A shipped recipe by name, or any TOML file; RecipeError names what is wrong with it."""
    given = Path(name_or_file)
    shipped = recipes_folder() / f"{given.name}.toml"
    path = shipped if str(given) == given.name and shipped.is_file() else given
    if not path.is_file():
        known = known_recipes()
        raise RecipeError(
            f"unknown recipe {str(name_or_file)!r}{nearest(str(name_or_file), known)}; "
            f"known: {', '.join(known)}; or give the path of a TOML file"
        )
    try:
        return parse_toml(TrainRecipe, path.read_text("utf-8"), str(path))
    except UnicodeDecodeError:
        raise RecipeError(f"{path} is not TOML: it is not UTF-8 text") from None
