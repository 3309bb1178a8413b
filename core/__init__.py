"""Code that all processes share: settings, errors, database, jobs and their queue, storage, networking, telemetry.

Imports no other package of this project; `api`, `worker`, `dispatcher` and `cli` import it.
"""
