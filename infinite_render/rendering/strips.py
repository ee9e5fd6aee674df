"""The rows that a step of the ladder carries through its layers of high resolution at a time.

All rows of a piece come to tens of megabytes a layer; those of a strip stay in a processor's
cache. Measured at depth 6 on two cores: painting takes 0.91 to 0.94 of the time, though each strip
reads three rows again that the one above it has read.
"""

from __future__ import annotations

from collections.abc import Iterator

STRIP_ROWS = 64  # even, so that every strip begins at a row of the low resolution


def strips(low_rows: int) -> Iterator[tuple[slice, slice]]:
    """(rows of the low resolution that are read, rows that are painted), from top to bottom.

    The upsampling layer and the one after it make 2 n - 5 rows of n.

    >>> list(strips(40))
    [(slice(0, 35, None), slice(0, 64, None)), (slice(32, 40, None), slice(64, 75, None))]
    """
    height = 2 * low_rows - 5
    for top in range(0, height, STRIP_ROWS):
        bottom = min(top + STRIP_ROWS, height)
        yield slice(top // 2, (bottom + 6) // 2), slice(top, bottom)
