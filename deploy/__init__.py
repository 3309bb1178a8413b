"""What brings the service to machines other than one's own, and eyes on it."""
