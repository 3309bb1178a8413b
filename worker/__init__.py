"""The doing: one Celery process per lane that holds the model and turns addresses into answers.

fetch (thread) → decode (thread) → batch → predict (one model thread) → finish. Imports `jobs` and `model`.
"""
