"""infrender paints pictures without edges: every pixel is a function of a seed and a position."""
