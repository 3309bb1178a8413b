"""The dashboard, the alerts and what Prometheus and Grafana read."""
