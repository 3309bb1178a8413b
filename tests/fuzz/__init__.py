"""Hostile input: mutated pictures, addresses that point inside, and requests made from the OpenAPI document.

`python -m tests.fuzz` (`make fuzz`) runs the long form; the suite runs a short one (tests/e2e/test_fuzz.py).
"""
