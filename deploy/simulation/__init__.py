"""A model of load, KEDA, the HPA, nodes and workers, to choose values by; `python -m deploy.simulate` runs it."""
