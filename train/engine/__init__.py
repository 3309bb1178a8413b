"""The training loop, checkpoints, and processes that share a run."""
