"""Webhook delivery: claiming due deliveries, sending them, recording outcomes."""
