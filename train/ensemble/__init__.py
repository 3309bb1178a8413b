"""Combinations of trained bundles: companions (averaged probabilities) and model soups (averaged weights)."""
