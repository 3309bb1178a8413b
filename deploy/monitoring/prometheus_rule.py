"""Generates a PrometheusRule for the Prometheus Operator from alerts.yml, because kustomize cannot convert that file.

The text is copied line by line to keep its comments.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE / "alerts.yml"
FILE = HERE.parent / "k8s" / "components" / "monitoring" / "rules.yaml"

HEAD = """\
# Generated from deploy/monitoring/alerts.yml by `python -m deploy.monitoring.dashboard`: change it there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: enrich
  labels:
    app.kubernetes.io/name: asset-enrichment
spec:
"""


def text() -> str:
    """Returns the content of the generated file."""
    return HEAD + textwrap.indent(SOURCE.read_text(encoding="utf-8"), "  ")
