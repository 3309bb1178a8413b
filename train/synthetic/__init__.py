"""Settings of the smoke run, and tiny bundles for tests."""
