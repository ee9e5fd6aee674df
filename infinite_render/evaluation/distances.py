"""Two distances between sets of features, and how far chance alone moves them.

Frechet distance (Heusel et al., 2017; Dowson & Landau, 1982), of the normal laws fitted to both:
    |m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2)
Kernel distance (Binkowski et al., "Demystifying MMD GANs", 2018): the unbiased estimate of the
squared maximum mean discrepancy under k(x, y) = (x.y / D + 1)^3.

The Frechet distance of finite samples is too large, by a bias that falls about as 1 / samples and
depends on the set: compare only figures of equal counts. The kernel distance has no such bias, and
may therefore fall below 0.

Shapes: features float32 [N,D]; all sums float64. Imports numpy alone, so that a training loop can
call it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from infinite_render.errors import UsageError

Features = npt.NDArray[np.float32]  # [N,D]
Floats = npt.NDArray[np.float64]

NORMAL_95 = 1.959964  # half of a 95 % interval, in standard deviations
ROWS = 1024  # of a kernel matrix computed at once


@dataclass(frozen=True)
class Statistics:
    """Mean [D] and covariance [D,D] of `samples` feature vectors, float64.

    rows [N,D] are those vectors, centred and divided by (N - 1)^1/2, where N <= D.
    """

    mean: Floats
    covariance: Floats
    samples: int
    rows: Floats | None = None

    @cached_property
    def factor(self) -> Floats:
        """Some F [R,D] with F^T F the covariance, R as small as is known without work."""
        if self.rows is not None:
            return self.rows
        try:
            lower = np.linalg.cholesky(self.covariance)
        except np.linalg.LinAlgError:  # a feature that never varies
            values, vectors = np.linalg.eigh(self.covariance)
            lower = vectors * np.sqrt(np.maximum(values, 0))
        factor: Floats = np.ascontiguousarray(lower.T)
        return factor


@dataclass(frozen=True)
class Figure:
    """A distance, its 95 % interval over the draw of the samples, and the counts it was had from.

    The photographs' side of the comparison is held fixed: the interval says how far another seed
    would move the figure, not how far other photographs would.
    """

    value: float
    low: float
    high: float
    samples: int
    against: int

    @classmethod
    def around(cls, value: float, deviation: float, samples: int, against: int) -> Figure:
        half = NORMAL_95 * deviation
        return cls(value, value - half, value + half, samples, against)


def statistics_of(features: npt.NDArray[Any]) -> Statistics:
    """Fit a normal law to features [N,D]; UsageError for fewer than two."""
    samples = len(features)
    if samples < 2:
        raise UsageError(f"{samples} samples have no covariance; give 2 or more")
    values = features.astype(np.float64)
    mean = values.mean(axis=0)
    values -= mean
    values /= math.sqrt(samples - 1)
    rows = values if samples <= values.shape[1] else None
    return Statistics(mean, values.T @ values, samples, rows)


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """The Frechet distance of two normal laws; 0 to rounding for a law and itself.

    With A = F^T F and B = G^T G, tr (A^1/2 B A^1/2)^1/2 is the sum of the singular values of F G^T,
    which keeps the digits that a root of eigenvalues of the product would lose.
    """
    shared = np.linalg.svd(a.factor @ b.factor.T, compute_uv=False).sum()
    offset = a.mean - b.mean
    spread = np.trace(a.covariance) + np.trace(b.covariance) - 2 * shared
    return float(offset @ offset + spread)


def frechet_figure(real: Statistics, features: Features, replicates: int, seed: int = 0) -> Figure:
    """The Frechet distance of `features` [N,D] to `real`, with a bootstrap interval.

    A resample holds fewer distinct samples and so has a larger bias than the sample; hence the
    interval is the value plus and minus the resamples' deviation, not their quantiles.
    """
    value = frechet_distance(real, statistics_of(features))
    resampled = _ResampledFrechet(real, features)
    values = [resampled(counts) for counts in _resamples(len(features), replicates, seed)]
    return Figure.around(value, _deviation(values), len(features), real.samples)


class _ResampledFrechet:
    """The Frechet distance when sample i counts w_i times, by the smaller of two matrices.

    With A = F^T F and B = G^T G, F B F^T and G A G^T have the same non-zero eigenvalues, and their
    roots the trace that is asked for.
    """

    def __init__(self, real: Statistics, features: Features) -> None:
        self.real = real
        self.features = features.astype(np.float64)
        samples, dim = self.features.shape
        self.small = samples <= dim
        if self.small:
            self.gram = self.features @ real.covariance @ self.features.T  # [N,N]
            self.squares = np.square(self.features).sum(axis=1)
        else:
            self.single = features  # float32 is enough for a deviation

    def __call__(self, counts: Floats) -> float:
        total = counts.sum()
        mean = counts @ self.features / total
        offset = self.real.mean - mean
        if self.small:
            root = np.sqrt(counts / (total - 1))
            centre = counts / total
            gram = self.gram - (self.gram @ centre)[:, None] - (centre @ self.gram)[None]
            gram += centre @ self.gram @ centre
            product = root[:, None] * gram * root[None]
            trace = (counts @ self.squares - total * (mean @ mean)) / (total - 1)
        else:
            weighted = self.single * counts[:, None].astype(np.float32)
            covariance = (weighted.T @ self.single).astype(np.float64)
            covariance = (covariance - total * np.outer(mean, mean)) / (total - 1)
            product = self.real.factor @ covariance @ self.real.factor.T
            trace = np.trace(covariance)
        shared = np.sqrt(np.maximum(np.linalg.eigvalsh((product + product.T) / 2), 0)).sum()
        return float(offset @ offset + np.trace(self.real.covariance) + trace - 2 * shared)


def kernel_distance(real: Features, features: Features) -> float:
    """The unbiased kernel distance of two sets [M,D] and [N,D]; UsageError for fewer than two."""
    return kernel_figure(real, features, replicates=0).value


def kernel_figure(real: Features, features: Features, replicates: int, seed: int = 0) -> Figure:
    """The kernel distance of `features` [N,D] to `real` [M,D], with a bootstrap interval.

    Weights stand in for resamples, so no kernel is computed twice; pairs of one sample with itself
    are left out, as in the estimate.
    """
    m, n = len(real), len(features)
    if min(m, n) < 2:
        raise UsageError(f"a kernel distance of {m} and {n} samples; give 2 or more of each")
    weights = np.array([np.ones(n), *_resamples(n, replicates, seed)])  # [R,N]
    within_real, across = 0.0, np.zeros(n)
    for start in range(0, m, ROWS):
        rows = real[start : start + ROWS]
        block = _kernel(rows, real)
        # Row r of the block is sample start + r: its kernel with itself does not count.
        within_real += block.sum(dtype=np.float64) - np.trace(block[:, start:], dtype=np.float64)
        across += _kernel(rows, features).sum(axis=0, dtype=np.float64)
    within = np.zeros(len(weights))
    for start in range(0, n, ROWS):
        block = _kernel(features[start : start + ROWS], features).astype(np.float64)
        here = weights[:, start : start + ROWS]
        own = np.diagonal(block[:, start:])
        within += ((here @ block) * weights).sum(axis=1) - (np.square(here) * own).sum(axis=1)
    # A resample of one sample alone, which happens with very few, has no pair.
    pairs = np.maximum(weights.sum(axis=1) ** 2 - np.square(weights).sum(axis=1), 1)
    values = within_real / (m * (m - 1)) + within / pairs - 2 * weights @ across / (m * n)
    return Figure.around(float(values[0]), _deviation(list(values[1:])), n, m)


def _kernel(x: Features, y: Features) -> Features:
    values: Features = x @ y.T
    values /= x.shape[1]
    values += 1
    return values * values * values


def _resamples(samples: int, replicates: int, seed: int) -> list[Floats]:
    """How often each sample is drawn, in each of the replicates: float64 [N] each."""
    rng = np.random.default_rng([seed, samples])
    uniform = np.full(samples, 1 / samples)
    return [rng.multinomial(samples, uniform).astype(np.float64) for _ in range(replicates)]


def _deviation(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
