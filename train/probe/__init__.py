"""Linear heads on the frozen backbones of a bundle: all that a small table needs, in seconds."""
