"""The model: taxonomy, preprocessing, network, captioner, bundle and predictor.

It reads and writes nothing but bundle folders, and does not depend on the service; `worker` and `train` import it.
"""
