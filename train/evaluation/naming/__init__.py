"""Checks of display names: how the catalogue uses words, and which names a shop would not print."""
