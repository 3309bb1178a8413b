"""Training: data, augmentation, loss, loop, calibration, export and evaluation of what `model` serves.

`python -m train` trains, `python -m train.evaluate` measures; `LOG.md` says what was tried and what it gave.
"""
