"""Catalogues, photos and drawn images as training data; options of a run."""
