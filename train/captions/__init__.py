"""Training and comparing captioners."""
