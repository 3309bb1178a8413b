"""The record that all processes share: settings, tables, the state machine, the queue, storage, safe fetching.

Imports nothing of ours; `api`, `worker` and `dispatcher` all stand on it.
"""
