"""The simulation as a whole: nothing is lost, the same seed gives the same figures, and the command's answers."""

from __future__ import annotations

import ast
import dataclasses
import json
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result

from core.states import Lane
from deploy.capacity.assumptions import Assumptions
from deploy.capacity.flow import Flow
from deploy.capacity.load import SCENARIOS, Load, make
from deploy.capacity.reporting.figures import percentile, rows, turns
from deploy.capacity.results import SWEEPS, section
from deploy.capacity.run import Run, simulate
from deploy.capacity.scaled_object import Counts, ScaledObject, find
from deploy.capacity.simulate import main
from deploy.capacity.study import Study

DATA = Path(__file__).parents[1] / "data" / "scaled_objects.yaml"
USUAL = Assumptions()
WITHOUT_GPU = dataclasses.replace(USUAL, interactive=dataclasses.replace(USUAL.interactive, images_per_s=66))
ROUGH = Assumptions(crashes_per_pod_hour=6, reclaims_per_node_hour=3, reclaim_notice_s=30)
WITHOUT_WARNING = dataclasses.replace(ROUGH, reclaim_notice_s=0, pods_per_node=4)


@pytest.fixture(scope="module")
def scaled_objects() -> list[ScaledObject]:
    return find([DATA])


def hour(interactive: int, bulk: int = 0) -> Load:
    """An hour of so many images a second, and one import in its middle."""
    imports = [0] * 3600
    imports[1800] = bulk
    return Load("hour", "", {Lane.INTERACTIVE: [interactive] * 3600, Lane.BULK: imports})


def figures(run: Run) -> list[object]:
    return [[dataclasses.asdict(row) for row in rows([run])], [control.series for control in run.controls.values()]]


@pytest.mark.parametrize("assumptions", [USUAL, ROUGH, WITHOUT_WARNING], ids=["usual", "rough", "no warning"])
def test_every_image_is_finished_exactly_once(scaled_objects: list[ScaledObject], assumptions: Assumptions) -> None:
    load = hour(100, bulk=100_000)
    run = simulate(load, scaled_objects, assumptions, seed=3)
    for lane, flow in run.flows.items():
        assert flow.arrived == sum(load.arrivals[lane])
        assert flow.finished == flow.waits.total() == flow.arrived
        assert flow.waiting == flow.count() == 0
        assert min(flow.waits) >= 0
    if assumptions is not USUAL:
        assert run.cluster.crashes > 5
        assert run.cluster.reclaims > 1
        assert run.flows[Lane.INTERACTIVE].computed_twice > 0


def test_an_outage_of_redis_loses_nothing(scaled_objects: list[ScaledObject]) -> None:
    run = simulate(dataclasses.replace(hour(50, 10_000), redis_away=(1700, 2000)), scaled_objects, ROUGH, seed=1)
    assert [row.lost + row.unfinished for row in rows([run])] == [0, 0]


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_seed_gives_the_same_load(name: str) -> None:
    assert make(name, 2, 7) == make(name, 2, 7) != make(name, 2, 8)


@pytest.mark.parametrize("name", ["steady", "outage"])
def test_the_same_seed_gives_the_same_figures(scaled_objects: list[ScaledObject], name: str) -> None:
    one, other = (simulate(make(name, 2, seed), scaled_objects, ROUGH, 7) for seed in (7, 7))
    assert figures(one) == figures(other)
    assert figures(one) != figures(simulate(make(name, 2, 8), scaled_objects, ROUGH, 8))


def test_a_first_image_waits_for_node_image_and_model_and_the_lane_ends_at_zero(
    scaled_objects: list[ScaledObject],
) -> None:
    arrivals = [0] * 3600
    arrivals[100] = 1
    calm = Assumptions(crashes_per_pod_hour=0, reclaims_per_node_hour=0)
    run = simulate(Load("one", "", {Lane.INTERACTIVE: arrivals, Lane.BULK: [0] * 3600}), scaled_objects, calm, 0)
    (wait,) = run.flows[Lane.INTERACTIVE].waits
    assert 60 + 15 * 0.9 + 30 < wait < 60 + 15 * 1.2 + 600
    control = run.controls[Lane.INTERACTIVE]
    assert control.changes == [1, -1]
    assert control.zero_s > 3600 - 100 - wait - 600 - 15 - 100
    billed_s = run.cluster.node_s[Lane.INTERACTIVE]
    assert wait + 600 + 600 - 10 < billed_s < wait + 600 + 600 + 30, "cooldown, then the node's own idle time"
    assert run.cluster.node_s[Lane.BULK] == 0


def test_no_more_nodes_than_may_be_had(scaled_objects: list[ScaledObject]) -> None:
    run = simulate(hour(200), scaled_objects, dataclasses.replace(ROUGH, max_nodes=2), seed=0)
    assert run.cluster.nodes_max == 2
    assert run.flows[Lane.INTERACTIVE].count() == 0 or rows([run])[0].unfinished > 0


def test_a_killed_worker_s_images_come_back_after_the_lease_and_its_messages_are_counted_until_the_timeout() -> None:
    flow = Flow(WITHOUT_GPU, Lane.INTERACTIVE, np.random.default_rng(0))
    flow.submit(0, 500, is_published=True)
    flow.work(0, 1, may_take=True)
    assert flow.counted(0, 1)[Counts.UNACKED] == 32
    flow.kill(0, 1)
    lost = flow.count() - (500 - 66 - 32)
    assert 32 <= lost <= 32 + 16, "besides the 32 in its hands some of those of the second before"
    assert (flow.finished + flow.count(), flow.computed_twice) == (500, 16)
    assert flow.counted(1, 0) == {Counts.QUEUED: 500 - 66 - 32, Counts.UNACKED: lost}
    flow.sweep(9)
    assert flow.counted(9, 0)[Counts.QUEUED] == 500 - 66 - 32
    flow.sweep(18)
    assert flow.counted(18, 0)[Counts.QUEUED] == 500 - 66 - 32 + lost == flow.count()
    assert flow.counted(600, 0)[Counts.UNACKED] == 0


def test_a_drained_worker_finishes_its_batch_and_gives_the_rest_back_at_once() -> None:
    flow = Flow(WITHOUT_GPU, Lane.INTERACTIVE, np.random.default_rng(0))
    flow.submit(0, 500, is_published=True)
    flow.work(0, 1, may_take=True)
    flow.drain(0, 1)
    assert (flow.finished, flow.computed_twice) == (66 + 16, 0)
    assert flow.counted(0, 0) == {Counts.QUEUED: 500 - 66 - 16, Counts.UNACKED: 0}


def test_bulk_messages_are_counted_as_chunks() -> None:
    flow = Flow(Assumptions(), Lane.BULK, np.random.default_rng(0))
    flow.submit(0, 64 * 10 + 5, is_published=True)
    assert flow.counted(0, 0) == {Counts.QUEUED: 11, Counts.UNACKED: 0}


def test_chunks_in_progress_are_as_many_as_the_worker_takes() -> None:
    source = Path(__file__).parents[3] / "worker" / "main.py"
    found = [
        node.value.value
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and [ast.unparse(target) for target in node.targets] == ["BULK_MESSAGES"]
    ]
    assert found == [Assumptions().bulk.slots]


def test_percentiles_and_turns() -> None:
    assert [percentile(Counter({0: 90, 5: 9, 60: 1}), share) for share in (0.5, 0.9, 0.95, 0.99, 1)] == [0, 0, 5, 5, 60]
    assert percentile(Counter(), 0.5) == 0
    assert [turns(changes) for changes in ([], [1, 2], [1, -1], [4, 2, -1, -1, 3])] == [0, 0, 1, 2]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["--scaled-object", str(DATA), *arguments])


def test_the_command_prints_a_table_and_writes_json_and_plots(tmp_path: Path) -> None:
    found = call("--scenario", "outage", "--rate", "5", "--json", str(tmp_path / "f.json"), "--plots", str(tmp_path))
    assert found.exit_code == 0, found.output
    assert "outage  interactive" in found.stdout
    figures = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
    assert [row["lost"] for row in figures["rows"]] == [0, 0]
    assert figures["rate"] == 5
    drawn = (tmp_path / "outage.svg").read_text(encoding="utf-8")
    assert "outage, interactive" in drawn
    assert ElementTree.fromstring(drawn).tag.endswith("svg")
    call("--scenario", "outage", "--rate", "5", "--plots", str(tmp_path / "again"))
    assert (tmp_path / "again" / "outage.svg").read_text(encoding="utf-8") == drawn


def test_values_are_compared() -> None:
    found = call("--scenario", "million", "--rate", "1", "--compare", "bulk.target=5700,57000,bulk.max=5,20")
    assert found.exit_code == 0, found.output
    lines = [line.split()[:4] for line in found.stdout.splitlines()[1:]]
    assert lines == [[target, most, "million", "bulk"] for target in ("5700", "57000") for most in ("5", "20")]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--compare", "colour=1"], "NAME is one of target, polling, cooldown"),
        (["--compare", "target"], "write NAME=VALUE,VALUE…"),
        (["--compare", "target=ten"], "the values are numbers"),
        (["--node-s", "90", "60"], "the 95th percentile must be greater than the median"),
        (["--scaled-object", "/dev/null/none"], "does not exist"),
    ],
)
def test_bad_input_is_told_in_a_sentence(arguments: list[str], sentence: str) -> None:
    found = call(*arguments)
    assert found.exit_code != 0
    assert sentence in found.output


def test_the_section_names_the_shipped_values_in_bold(
    scaled_objects: list[ScaledObject], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = [dataclasses.replace(each, scenarios=("outage",), choices=each.choices[:1]) for each in SWEEPS]
    monkeypatch.setattr("deploy.capacity.results.SWEEPS", quick)
    monkeypatch.setattr("deploy.capacity.results.GROWTH_RATES", (2,))
    text = section(
        Study(tuple(scaled_objects), Assumptions(), rate=1, seed=0), ["outage"], "python -m deploy.capacity.simulate"
    )
    assert "| **330 (1.3 s of work)** |" in text
    assert "| **600** |" in text
    assert "![outage](../../deploy/plots/outage.svg)" in text
    assert "$" not in text
