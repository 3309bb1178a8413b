"""Logs, metrics, traces and the heartbeat file."""
