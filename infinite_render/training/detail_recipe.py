"""The recipe of the detail ladder's training, as a frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from infinite_render.config import DetailConfig
from infinite_render.errors import RecipeError
from infinite_render.geometry import Span, detail_stage, spans_given


@dataclass(frozen=True)
class DetailRecipe:
    """One training run of the detail ladder."""

    name: str = "detail"
    detail: DetailConfig = field(default_factory=DetailConfig)
    base_px: tuple[int, int] = (100, 125)  # a photograph's height at depth 0 lies in this range
    given_px: int = 64  # side of the low-resolution patch a step is given
    batch: int = 8  # patches a step
    images: int = 40_000  # patches shown in all
    interval_images: int = 4_000  # between two checkpoints and sheets
    seed: int = 0
    crps: float = 4.0  # weight of the pixel term (continuous ranked probability score)
    spread: float = 0.9  # of two draws, in that score; 1: its proper form, less: surer, crisper
    adversarial: float = 0.06  # weight of the adversarial term
    plain_images: int = 16_000  # patches shown first, without noise or critic: mean |X - y| alone
    ramp_images: int = 1600  # after them, the adversarial weight grows from 0 over so many
    features: bool = True  # judge by frozen features too (extra `projected`)
    unroll_every: int = 2  # steps between two that climb two zooms further; 0: never
    own_every: int = 2  # steps between two that climb pictures of the base model, if one is given
    plain_rate: float = 0.004  # Adam's, of the step, while it learns plainly
    step_rate: float = 0.002  # Adam's, of the step, then
    critic_rate: float = 0.0015  # Adam's, of the critic
    ema_half_life_images: float = 1800.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 where native

    def __post_init__(self) -> None:
        if self.batch < 2 or self.batch % 2:
            raise RecipeError(f"batch = {self.batch} must be even: half of it is painted twice")
        if min(self.images, self.interval_images) < 1:
            raise RecipeError("images and interval_images must be 1 or more")
        if not 0 <= self.spread <= 1:
            raise RecipeError(f"spread = {self.spread} must be in [0, 1]")
        if len(self.base_px) != 2 or not 8 <= self.base_px[0] <= self.base_px[1]:
            raise RecipeError(f"base_px = {list(self.base_px)} must be two heights, from 8 px on")
        least = (64 if self.features else 36) + 2
        if self.painted_px < least:
            raise RecipeError(
                f"given_px = {self.given_px} paints {self.painted_px} px; the critic needs {least}"
            )

    @property
    def patch_px(self) -> int:
        """Side of a photograph's patch at the high resolution: halved, it is `given_px`."""
        return 2 * self.given_px + 7

    @property
    def painted_px(self) -> int:
        """Side of what a step paints from `given_px`."""
        return spans_given(detail_stage(self.detail.low_layers), Span(0, self.given_px))[-1].size

    @property
    def painted_from_px(self) -> int:
        """Where, in a photograph's patch, what the step paints begins."""
        given = Span(2, 2 + self.given_px)  # `halve` keeps pixel 4 of the patch first
        return spans_given(detail_stage(self.detail.low_layers), given)[-1].start
