"""Joining trained bundles: companions and model soups."""
