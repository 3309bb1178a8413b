"""The dispatcher: a plain process that always runs beside the workers.

Delivers webhooks, sweeps, purges, and exports gauges.
No Celery tasks and no torch. Imports `core` only.
"""
