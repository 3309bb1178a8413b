"""Figures of a bundle: accuracy, calibration, confidence intervals, reports, model cards."""
