"""Capacity simulation: load, KEDA, the HPA, nodes and workers. `python -m deploy.capacity.simulate` runs it."""
