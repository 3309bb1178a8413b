"""The attribute network and the ways it is made faster for serving."""
