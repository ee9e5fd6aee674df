"""infrender paints pictures without edges: every pixel is a function of a seed and a position."""

import os

# Large tensors on large pages: their first touch was an eighth of a render's time. torch asks once,
# at its first tensor, so this stands where every import begins.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
