"""Figures of a simulated run, as tables and plots."""
