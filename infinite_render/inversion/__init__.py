"""Inversion: from a photograph to the latents that repaint it, kept as a pin."""
