"""What brings the service to machines other than one's own: manifests, images, eyes on it, a scaling simulation."""
