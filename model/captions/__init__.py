"""Captioners: structured text, the neural captioner with its decoding, and the wording of display names."""
