"""Drawn data and tiny bundles for smoke runs and tests."""
