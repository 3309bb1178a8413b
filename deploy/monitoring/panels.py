"""A small typed builder for Grafana's classic dashboard JSON: stats, time series and rows, laid out by width.

Grafana 8 and later read the classic model (https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

COLUMNS = 24
# The Prometheus data source that the viewer selects at the top of the dashboard.
DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
SCHEMA_VERSION = 39

GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"


@dataclass(frozen=True)
class Query:
    """One PromQL query. `legend` is the name of each series and may contain labels as `{{label}}`."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Limits:
    """The values from which a stat is yellow and red. If `rises` is False, high values are green."""

    yellow: float
    red: float
    rises: bool = True

    def steps(self) -> list[Json]:
        if self.rises:
            return _steps((GREEN, None), (YELLOW, self.yellow), (RED, self.red))
        return _steps((RED, None), (YELLOW, self.red), (GREEN, self.yellow))


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        description: explains the values and what is normal.
        limits: makes the panel a stat that is green, yellow or red.
        is_stat: makes the panel a blue stat without limits.
        shows_name: shows the legend of a stat instead of its value.
        is_stacked: stacks the series.
        top: maximum of the y axis.
        idle_text: shown in a stat without a value.
        unit: Grafana's name of the unit, such as `s`, `percentunit`, `bytes`, `ops`.
    """

    title: str
    description: str
    queries: Sequence[Query]
    unit: str = "short"
    width: int = 8
    height: int = 8
    limits: Limits | None = None
    is_stat: bool = False
    shows_name: bool = False
    is_stacked: bool = False
    top: float | None = None
    idle_text: str = ""
    decimals: int | None = None

    def to_json(self, number: int, x: int, y: int) -> Json:
        body = _stat(self) if self.is_stat or self.limits else _time_series(self)
        return {
            "id": number,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "targets": [_target(query, index) for index, query in enumerate(self.queries)],
            **body,
        }


@dataclass(frozen=True)
class Row:
    """A heading and its panels, from left to right."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Variable:
    """A dashboard variable that selects a value of a label."""

    name: str
    label: str
    metric: str
    has_all: bool

    def to_json(self) -> Json:
        query = f"label_values({self.metric}, {self.name})"
        choice: Json = {"includeAll": True, "allValue": ".*", "multi": True} if self.has_all else {"multi": False}
        current: Json = {"current": {"text": "All", "value": "$__all"}} if self.has_all else {}
        return {
            "name": self.name,
            "label": self.label,
            "type": "query",
            "datasource": DATASOURCE,
            "definition": query,
            "query": {"query": query, "refId": self.name},
            # 2 = refresh when the time range changes, because a lane or attribute may be new.
            "refresh": 2,
            "sort": 1,
            **choice,
            **current,
        }


def dashboard(uid: str, title: str, description: str, rows: Sequence[Row], variables: Sequence[Variable]) -> Json:
    """Returns the dashboard in the format of Grafana's provisioning."""
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["enrich"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        # A shared crosshair on all panels.
        "graphTooltip": 1,
        "time": {"from": "now-3h", "to": "now"},
        "refresh": "30s",
        "timezone": "browser",
        "templating": {"list": [source, *(variable.to_json() for variable in variables)]},
        "annotations": {"list": []},
        "panels": list(_laid_out(rows)),
    }


def _laid_out(rows: Sequence[Row]) -> Iterator[Json]:
    number, y = 1, 0
    for row in rows:
        heading = {"id": number, "type": "row", "title": row.title, "collapsed": False, "panels": []}
        yield {**heading, "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": y}}
        number, y, x, tallest = number + 1, y + 1, 0, 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            yield panel.to_json(number, x, y)
            number, x, tallest = number + 1, x + panel.width, max(tallest, panel.height)
        y += tallest


def _target(query: Query, index: int) -> Json:
    return {
        "refId": chr(ord("A") + index),
        "datasource": DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "range": True,
    }


def _stat(panel: Panel) -> Json:
    steps = panel.limits.steps() if panel.limits else _steps((BLUE, None))
    defaults: Json = {"unit": panel.unit, "color": {"mode": "thresholds"}, "thresholds": _thresholds(steps)}
    if panel.idle_text:
        defaults["noValue"] = panel.idle_text
    if panel.decimals is not None:
        defaults["decimals"] = panel.decimals
    return {
        "type": "stat",
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "background",
            "graphMode": "none" if panel.shows_name else "area",
            "textMode": "name" if panel.shows_name else "auto",
            "justifyMode": "center",
            "orientation": "auto",
        },
    }


def _time_series(panel: Panel) -> Json:
    custom: Json = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": False}
    if panel.is_stacked:
        custom |= {"fillOpacity": 60, "stacking": {"mode": "normal", "group": "A"}}
    defaults: Json = {"unit": panel.unit, "min": 0, "color": {"mode": "palette-classic"}, "custom": custom}
    if panel.top is not None:
        defaults["max"] = panel.top
    return {
        "type": "timeseries",
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def _thresholds(steps: list[Json]) -> Json:
    return {"mode": "absolute", "steps": steps}


def _steps(*steps: tuple[str, float | None]) -> list[Json]:
    return [{"color": color, "value": value} for color, value in steps]
