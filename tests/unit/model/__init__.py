"""Tests of what the service knows: the package `model`."""
