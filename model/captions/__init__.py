"""The captioner: network, decoding, and the wording of display names."""
