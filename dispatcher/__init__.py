"""What must always run beside the workers, as one plain process: the sweeper, and whatever else has to be made good.

No Celery tasks, no torch. Imports `jobs` only.
"""
