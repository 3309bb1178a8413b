"""Runs the whole service on one machine, with a real Postgres and a real Redis from Python wheels.

Production processes do not import this package. It requires the extra `embedded`.
"""
