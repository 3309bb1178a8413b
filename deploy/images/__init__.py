"""Building the container images, and trying them where there is no engine."""
