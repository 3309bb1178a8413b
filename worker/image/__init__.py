"""From an address to pixels: fetching, decoding, colour, preprocessing."""
