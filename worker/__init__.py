"""The worker: one Celery process per lane that holds the model and turns addresses into answers.

Fetch and decode run in threads, prediction in one model thread over micro-batches. Imports `core` and `model`.
"""
