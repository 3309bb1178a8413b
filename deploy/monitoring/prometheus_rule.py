"""alerts.yml once more, as the Prometheus Operator wants it: kustomize can neither read nor wrap that file.

Line by line, so that its comments come along.
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
    """The document as the file holds it."""
    return HEAD + textwrap.indent(SOURCE.read_text(encoding="utf-8"), "  ")
