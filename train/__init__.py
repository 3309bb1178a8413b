"""Training, calibration, export and evaluation of the bundles that `model` serves.

`python -m train` trains a bundle, `python -m train.evaluate` evaluates one. `LOG.md` records experiments and results.
"""
