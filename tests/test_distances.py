"""The two distances: against closed forms, against the plain sums, and by what they must feel."""

from __future__ import annotations

import numpy as np
import pytest

from infinite_render.errors import UsageError
from infinite_render.evaluation.distances import (
    Features,
    Statistics,
    _ResampledFrechet,
    frechet_distance,
    frechet_figure,
    kernel_distance,
    kernel_figure,
    statistics_of,
)


def drawn(samples: int, dim: int = 12, *, seed: int = 0, scale: float = 1.0) -> Features:
    """Correlated normal features."""
    mixing = np.random.default_rng(7).normal(size=(dim, dim))
    values = np.random.default_rng(seed).normal(size=(samples, dim)) @ mixing * scale
    return values.astype(np.float32)


def law(mean: list[float], covariance: list[list[float]]) -> Statistics:
    return Statistics(np.array(mean), np.array(covariance), 100)


def test_frechet_distance_of_laws_with_a_closed_form() -> None:
    line = frechet_distance(law([0], [[1]]), law([3], [[4]]))
    assert line == pytest.approx(9 + (1 - 2) ** 2)
    plane = frechet_distance(law([0, 0], [[4, 0], [0, 9]]), law([1, 2], [[1, 0], [0, 16]]))
    assert plane == pytest.approx(5 + (2 - 1) ** 2 + (3 - 4) ** 2)
    # Laws turned together keep their distance.
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    turned = [
        law((turn @ m).tolist(), (turn @ np.diag(c) @ turn.T).tolist())
        for m, c in (([0, 0], [4, 9]), ([1, 2], [1, 16]))
    ]
    assert frechet_distance(*turned) == pytest.approx(plane)


@pytest.mark.parametrize("samples", [5, 400])
def test_a_set_is_at_distance_zero_from_itself(samples: int) -> None:
    """To rounding, also where there are fewer samples than dimensions."""
    statistics = statistics_of(drawn(samples, 40))
    assert abs(frechet_distance(statistics, statistics)) < 1e-11 * np.trace(statistics.covariance)


def test_frechet_distance_has_no_sides() -> None:
    a, b = statistics_of(drawn(300)), statistics_of(drawn(200, seed=1, scale=1.3))
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


@pytest.mark.parametrize("samples", [9, 300], ids=["fewer than dimensions", "more"])
def test_a_resampled_distance_is_that_of_the_repeated_samples(samples: int) -> None:
    real, features = statistics_of(drawn(500)), drawn(samples, seed=3, scale=0.8)
    counts = np.random.default_rng(0).multinomial(samples, np.full(samples, 1 / samples))
    expected = frechet_distance(real, statistics_of(np.repeat(features, counts, axis=0)))
    resampled = _ResampledFrechet(real, features)(counts.astype(np.float64))
    assert resampled == pytest.approx(expected, rel=1e-4)


def test_the_kernel_distance_is_the_plain_sum_over_pairs() -> None:
    x, y = drawn(7, 3), drawn(5, 3, seed=1)

    def k(a: Features, b: Features) -> float:
        return (float(a @ b) / 3 + 1) ** 3

    within_x = [k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
    within_y = [k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j]
    across = [k(a, b) for a in x for b in y]
    expected = np.mean(within_x) + np.mean(within_y) - 2 * np.mean(across)
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-4)


def test_the_kernel_distance_has_no_bias_and_the_frechet_distance_has() -> None:
    kernels, frechets = [], []
    for seed in range(40):
        a, b = drawn(60, seed=2 * seed, scale=0.3), drawn(60, seed=2 * seed + 1, scale=0.3)
        kernels.append(kernel_distance(a, b))
        frechets.append(frechet_distance(statistics_of(a), statistics_of(b)))
    assert abs(np.mean(kernels)) < 3 * np.std(kernels) / np.sqrt(len(kernels))
    assert min(kernels) < 0 < max(kernels)
    assert min(frechets) > 0


@pytest.mark.parametrize("figure", ["frechet", "kernel"])
def test_the_interval_is_as_wide_as_other_seeds_ask(figure: str) -> None:
    """The deviation over real redraws is that of the bootstrap, within a factor of two."""
    real = drawn(600, seed=99)
    statistics = statistics_of(real)

    def measure(seed: int, replicates: int) -> tuple[float, float]:
        features = drawn(300, seed=seed, scale=1.2)
        if figure == "frechet":
            found = frechet_figure(statistics, features, replicates)
        else:
            found = kernel_figure(real, features, replicates)
        return found.value, (found.high - found.low) / (2 * 1.96)

    values = [measure(seed, 0)[0] for seed in range(40)]
    claimed = np.mean([measure(seed, 40)[1] for seed in range(5)])
    assert 0.5 < claimed / np.std(values) < 2


def test_figures_say_how_many_samples_they_were_had_from() -> None:
    found = kernel_figure(drawn(30), drawn(20, seed=1), replicates=0)
    assert (found.samples, found.against) == (20, 30)
    assert np.isnan(found.low)


def test_one_sample_is_refused() -> None:
    with pytest.raises(UsageError, match="1 samples have no covariance; give 2 or more"):
        statistics_of(drawn(1))
    with pytest.raises(UsageError, match="give 2 or more of each"):
        kernel_distance(drawn(1), drawn(5))
