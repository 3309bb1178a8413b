"""The attribute network, and its optimisations for serving."""
