"""Heads fitted on a finished network: calibration, in_domain, photos."""
