"""Evaluation of a bundle: accuracy, calibration, confidence intervals, reports and model cards."""
