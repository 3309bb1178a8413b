"""Checks of a table before training, and comparison of bundles after it."""
