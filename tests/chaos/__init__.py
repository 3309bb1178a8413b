"""Faults under load: everything is killed in turn while jobs flow, and the record is held against what was promised.

`python -m tests.chaos` (`make chaos`) runs the long form; the suite runs a short one (tests/e2e/test_chaos.py).
"""
