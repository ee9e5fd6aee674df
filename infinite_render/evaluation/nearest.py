"""How far each of a set of vectors is from the nearest of another set, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

CANDIDATES = 4096  # at once: a matrix of queries x 4096 float32 is all that is held

Allowed = Callable[[slice], npt.NDArray[np.bool_]]
"""Part of the candidates -> bool [Q,c]: which of them each query may be compared with."""


def nearest_distance(
    queries: npt.NDArray[Any], candidates: npt.NDArray[Any], allowed: Allowed | None = None
) -> npt.NDArray[np.float32]:
    """Root mean square difference of each query [Q,K] to its nearest allowed candidate [C,K].

    float32 [Q]; inf where a query has no candidate.
    """
    x = queries.astype(np.float32)
    centre = x.mean(axis=0)  # near the data, squares of differences keep their digits
    x -= centre
    x_norm = np.square(x).sum(axis=1)
    best = np.full(len(x), np.inf, np.float32)
    for start in range(0, len(candidates), CANDIDATES):
        part = slice(start, min(start + CANDIDATES, len(candidates)))
        y = candidates[part].astype(np.float32) - centre
        squared = x @ y.T
        squared *= -2
        squared += x_norm[:, None]
        squared += np.square(y).sum(axis=1)[None]
        if allowed is not None:
            squared[~allowed(part)] = np.inf
        np.minimum(best, squared.min(axis=1), out=best)
    distance: npt.NDArray[np.float32] = np.sqrt(np.maximum(best, 0) / x.shape[1])
    return distance
