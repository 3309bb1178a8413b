"""The one-machine mode: a real Postgres and a real Redis from Python wheels, and the processes around them.

Nothing here is imported by production processes; it needs the extra `embedded`.
"""
