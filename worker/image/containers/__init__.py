"""Reads the containers of pictures: which chunks of a PNG matter, how a JPEG ends, what the boxes of a HEIC say."""
