"""Replays loads through a model of KEDA, the HPA, nodes and workers, using the shipped ScaledObjects.

Prints a table of waits, GPU-hours, cost compared with always-on GPUs, and scaling changes. Needs no cluster.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from deploy.capacity.assumptions import Assumptions
from deploy.capacity.formula import FormulaError
from deploy.capacity.load import SCENARIOS
from deploy.capacity.reporting import plots, tables
from deploy.capacity.reporting.figures import rows
from deploy.capacity.results import section
from deploy.capacity.scaled_object import ManifestError, find
from deploy.capacity.study import Study
from deploy.capacity.variation import VariationError, combinations, parse

MANIFESTS = Path(__file__).parents[1] / "k8s"
OUTPUT = click.Path(path_type=Path, dir_okay=False)
NOT_NEGATIVE = click.FloatRange(min=0)
POSITIVE = click.FloatRange(min=0, min_open=True)

NUMBERS = (
    ("--worker-start-s", NOT_NEGATIVE, "seconds from the start of a container to its first message"),
    ("--image-pull-s", NOT_NEGATIVE, "seconds of the first image pull on a node"),
    ("--node-idle-s", NOT_NEGATIVE, "seconds for which an empty node is kept"),
    ("--pods-per-node", click.IntRange(min=1), "pods per node"),
    ("--gpus-per-node", click.IntRange(min=1), "GPUs per node that are paid for"),
    ("--max-nodes", click.IntRange(min=1), "maximum number of nodes"),
    ("--crashes-per-pod-hour", NOT_NEGATIVE, "crashes per pod and hour"),
    ("--reclaims-per-node-hour", NOT_NEGATIVE, "reclaims of spot nodes, per node and hour"),
    ("--reclaim-notice-s", NOT_NEGATIVE, "seconds of notice before a spot node is reclaimed, usually 120 or 30"),
    ("--price-per-gpu-hour", NOT_NEGATIVE, "price per GPU-hour, in any currency"),
)
"""Options for fields of `Assumptions` with the same name."""


def assumption_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds an option for each assumption, with its default."""
    defaults = dataclasses.asdict(Assumptions())
    for option, kind, help_text in reversed(NUMBERS):
        default = defaults[option.removeprefix("--").replace("-", "_")]
        command = click.option(option, type=kind, default=default, show_default=True, help=help_text)(command)
    return command


@click.command(help=__doc__)
@click.option(
    "--scaled-object", "manifests", multiple=True, type=click.Path(path_type=Path, exists=True),
    show_default="deploy/k8s",
    help="a YAML file, a folder of YAML files, or a kustomization; may be repeated",
)  # fmt: skip
@click.option(
    "--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)), default=tuple(SCENARIOS),
    help="scenario to run, all by default; may be repeated",
)  # fmt: skip
@click.option("--rate", type=POSITIVE, default=200, show_default=True, help="base rate of the scenarios, in images/s")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="random seed; the same seed gives the same results",
)
@click.option("--repeat", type=click.IntRange(1, 50), default=1, show_default=True, help="number of seeds to combine")
@click.option(
    "--compare", multiple=True, metavar="NAME=V,V…",
    help="run all combinations of these values, such as target=100,330 or bulk.cooldown=60,300",
)  # fmt: skip
@click.option("--max-pods", type=click.IntRange(min=1), help="overrides maxReplicaCount of the manifests")
@click.option(
    "--images-per-s", type=(POSITIVE, POSITIVE), metavar="INTERACTIVE BULK", default=(254, 366), show_default=True,
    help="throughput of one pod; 48 and 61 with two cores and no GPU",
)  # fmt: skip
@click.option(
    "--image-s", type=POSITIVE, default=0.1, show_default=True, help="seconds that an image occupies a thread"
)
@click.option(
    "--node-s", type=(POSITIVE, POSITIVE), metavar="MEDIAN P95", default=(90, 180), show_default=True,
    help="seconds from the request of a node to Ready",
)  # fmt: skip
@assumption_options
@click.option("--json", "json_file", type=OUTPUT, help="write all results to this file")
@click.option(
    "--plots",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="write one SVG per scenario to this folder",
)
@click.option(
    "--markdown", is_flag=True, help="print docs/operate/simulation.md, with sweeps and growth, instead of the table"
)
def main(
    manifests: tuple[Path, ...], names: tuple[str, ...], rate: float, seed: int, repeat: int, compare: tuple[str, ...],
    max_pods: int | None, images_per_s: tuple[float, float], image_s: float, node_s: tuple[float, float],
    json_file: Path | None, folder: Path | None, markdown: bool, **numbers: Any,
) -> None:  # fmt: skip
    assumptions = _assume(images_per_s, image_s, node_s, numbers)
    try:
        scaled_objects = find(manifests or [MANIFESTS])
        axes = [axis for text in compare for axis in parse(text)]
        if max_pods is not None:
            _, scaled_objects = next(combinations(scaled_objects, parse(f"max={max_pods}")))
        study = Study(tuple(scaled_objects), assumptions, rate, seed, repeat)
        if markdown:
            click.echo(section(study, names, _command()))
        elif axes:
            click.echo(tables.plain(*study.compare(names, axes)))
        if json_file or folder or not (markdown or axes):
            _table(study, names, json_file, folder, is_quiet=markdown or bool(axes))
    except (ManifestError, VariationError, FormulaError) as error:
        raise click.ClickException(str(error)) from error


def _assume(
    images_per_s: tuple[float, float], image_s: float, node_s: tuple[float, float], numbers: dict[str, Any]
) -> Assumptions:
    if node_s[1] <= node_s[0]:
        raise click.BadParameter("the 95th percentile must be greater than the median", param_hint="--node-s")
    defaults = Assumptions()
    return dataclasses.replace(
        defaults,
        interactive=dataclasses.replace(defaults.interactive, images_per_s=images_per_s[0], image_s=image_s),
        bulk=dataclasses.replace(defaults.bulk, images_per_s=images_per_s[1], image_s=image_s),
        node_median_s=node_s[0],
        node_p95_s=node_s[1],
        **numbers,
    )


def _table(study: Study, names: Sequence[str], json_file: Path | None, folder: Path | None, *, is_quiet: bool) -> None:
    """Runs every scenario with the shipped values, and prints, writes and plots the results."""
    runs = {name: study.runs(name) for name in names}
    found = [row for each in runs.values() for row in rows(each)]
    if not is_quiet:
        click.echo(f"{tables.values(study.scaled_objects)}\n{tables.loads([each[0].load for each in runs.values()])}\n")
        click.echo(tables.plain(tables.HEADINGS, tables.lines(found)))
        click.echo("\n".join(["", *tables.unfinished(found), tables.legend(study.assumptions)]))
    if json_file:
        json_file.write_text(study.as_json(found), encoding="utf-8")
    if folder:
        for each in runs.values():
            click.echo(f"wrote {plots.draw(each[0], folder)}", err=True)


def _command() -> str:
    """Returns the command line, to be printed with the results."""
    return shlex.join(["python", "-m", "deploy.capacity.simulate", *sys.argv[1:]])


if __name__ == "__main__":
    main()
