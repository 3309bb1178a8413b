"""API keys: created, verified, listed and revoked."""
