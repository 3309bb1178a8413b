"""Renders docs/operate/simulation.md from the template `section.md`: tables, sweeps and growth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from string import Template

from core.states import Lane
from deploy.capacity.reporting import tables
from deploy.capacity.reporting.figures import Row, rows
from deploy.capacity.study import Study
from deploy.capacity.variation import parse

TEMPLATE = Path(__file__).with_name("section.md")
SWEPT = ("p50", "p95", "p99", "pods", "GPU-hours", "changes", "turns/h", "at zero")
GROWTH_RATES = (10, 100, 1_000, 10_000)
GROWTH_PODS = 400
CONNECTIONS = 6
"""Postgres connections of a worker: its pool, and two of a child process that isolates a suspect job."""


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A parameter to vary, and the scenarios in which it matters."""

    axis: str
    scenarios: tuple[str, ...]
    choices: tuple[float, ...]
    lane: Lane = Lane.INTERACTIVE
    is_work: bool = False
    """Whether the choices are in seconds of work of one pod instead of the parameter's unit."""


SWEEPS = (
    Sweep("interactive.target", ("steady", "flash", "outage"), (2, 5, 15, 30, 60), is_work=True),
    Sweep("bulk.target", ("daily", "million"), (60, 150, 300, 600), Lane.BULK, is_work=True),
    Sweep("interactive.cooldown", ("trickle",), (60, 300, 600, 900, 1800)),
    Sweep("interactive.max", ("flash",), (20, 40, 60, 80)),
    Sweep("window", ("flash", "million"), (60, 120, 300, 600)),
)


def section(study: Study, names: Sequence[str], command: str) -> str:
    """Returns the page's Markdown."""
    runs = {name: study.runs(name) for name in names}
    found = [row for each in runs.values() for row in rows(each)]
    swept = {sweep.axis.replace(".", "_"): _sweep(study, sweep) for sweep in SWEEPS}
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        command=command,
        values="\n".join(f"- {line}" for line in tables.values(study.scaled_objects).splitlines()),
        stories="\n".join(f"- **{name}**: {each[0].load.story}" for name, each in runs.items()),
        table="\n\n".join([tables.markdown(tables.HEADINGS, tables.lines(found)), *tables.unfinished(found)]),
        legend=tables.legend(study.assumptions),
        plots="\n".join(f"![{name}](../../deploy/plots/{name}.svg)" for name in names),
        growth=_growth(study),
        growth_pods=GROWTH_PODS,
        repeat=study.repeat,
        connections=f"{GROWTH_PODS * CONNECTIONS:,}",
        **_assumed(study),
        **swept,
    )


def _assumed(study: Study) -> dict[str, str]:
    """Returns the assumptions under their names in the template."""
    taken = study.assumptions
    figures = {name: value for name, value in vars(taken).items() if isinstance(value, int | float)}
    figures |= {"interactive_rate": taken.interactive.images_per_s, "bulk_rate": taken.bulk.images_per_s}
    figures |= {"threads": taken.interactive.threads, "image_s": taken.interactive.image_s}
    figures |= {"fetched_rate": taken.interactive.threads / taken.interactive.image_s}
    return {name: f"{value:g}" for name, value in figures.items()}


def _sweep(study: Study, sweep: Sweep) -> str:
    rate = study.assumptions.of(sweep.lane).images_per_s
    choices = [round(choice * rate) if sweep.is_work else choice for choice in sweep.choices]
    shipped = _shipped(study, sweep)
    (axis,) = parse(f"{sweep.axis}={','.join(f'{each:g}' for each in choices)}")
    axis = dataclasses.replace(axis, choices=tuple(sorted({*choices, shipped})))
    lines = []
    for name in sweep.scenarios:
        for (value,), row in study.vary(name, [axis]):
            said = f"{value:.0f} ({value / rate:.3g} s of work)" if sweep.is_work else f"{value:g}"
            lines.append([row.scenario, row.lane, f"**{said}**" if value == shipped else said, *_swept(row)])
    return tables.markdown(["scenario", "lane", sweep.axis.rpartition(".")[2], *SWEPT], lines)


def _swept(row: Row) -> list[str]:
    by_heading = dict(zip(tables.HEADINGS, tables.cells(row), strict=True))
    return [by_heading[heading] for heading in SWEPT]


def _shipped(study: Study, sweep: Sweep) -> float:
    scaled_object = next(each for each in study.scaled_objects if each.lane is sweep.lane)
    hpa = scaled_object.hpa
    return {
        "target": hpa.target,
        "cooldown": scaled_object.cooldown_s,
        "max": hpa.max_replicas,
        "window": hpa.down.stabilization_s,
    }[sweep.axis.rpartition(".")[2]]


def _growth(study: Study) -> str:
    """Returns a table of the steady scenario at growing rates, without a tight limit of pods."""
    lines = []
    for rate in GROWTH_RATES:
        axes = parse(f"interactive.max={GROWTH_PODS}")
        _, row = dataclasses.replace(study, rate=rate).vary("steady", axes)[0]
        work = rate / study.assumptions.interactive.rate
        waits = [tables.duration(each) for each in (row.wait_p50_s, row.wait_p95_s, row.wait_p99_s)]
        used = [f"{row.gpu_hours:.1f}", f"{3 * work:.1f}"]
        lines.append([f"{rate:,}", str(math.ceil(work)), str(row.pods_max), *waits, *used])
    headings = ["images/s", "pods it takes", "most pods", "p50", "p95", "p99", "GPU-hours", "of them work"]
    return tables.markdown(headings, lines)
