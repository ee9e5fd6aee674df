"""Training a generator from photographs."""
