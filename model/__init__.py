"""What the service knows: taxonomy, preprocessing, network, captioner, bundle and predictor.

No input or output beyond the bundle's own folder, and nothing of the service: `worker` and `train` import it.
"""
