"""Tests of training, calibration and evaluation: the package `train`."""
