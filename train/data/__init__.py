"""Training data (catalogues, customer photos, generated images), augmentation, losses, and the settings of a run."""
