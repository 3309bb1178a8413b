"""The training loop, checkpoints and distributed processes."""
