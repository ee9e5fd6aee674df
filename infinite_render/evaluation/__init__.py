"""How good a generator is, at any size: distances to photographs, seams, repetition, memory."""
