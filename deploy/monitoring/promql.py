"""Shared parts of the dashboard's queries.

Gauges that every dispatcher or worker exports are aggregated by `max`, so that several dispatchers do not add up.
"""

from __future__ import annotations

from deploy.monitoring.panels import Query

LANE = 'lane=~"$lane"'
RATE = "$__rate_interval"
# Adds the label `process` and drops processes of other software, such as Prometheus itself.
OURS = "* on (job, instance) group_left (process) enrich_build_info"
# Excludes probes and scrapes.
CALLERS = 'route!~"/healthz|/readyz|/metrics"'


def per_second(metric: str, *labels: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{', '.join(labels)}}}[{RATE}]))"


def quantile(share: float, histogram: str, *labels: str, by: str = "", over: str = RATE) -> str:
    groups = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({groups}) (rate({histogram}_bucket{{{', '.join(labels)}}}[{over}])))"


def mean(histogram: str, *labels: str, by: str = "") -> str:
    group, chosen = f" by ({by})" if by else "", ", ".join(labels)
    total, count = (f"sum{group} (rate({histogram}_{part}{{{chosen}}}[{RATE}]))" for part in ("sum", "count"))
    return f"{total} / {count}"


def quantiles(histogram: str, *labels: str, by: str = "") -> list[Query]:
    name = f"{{{{{by}}}}} " if by else ""
    return [
        Query(quantile(share, histogram, *labels, by=by), f"{name}p{share * 100:.0f}") for share in (0.5, 0.95, 0.99)
    ]
