"""Training of captioners, and their comparison with baselines."""
