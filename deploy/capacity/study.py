"""The parameters that stay fixed while scenarios and values vary: manifests, assumptions, rate and seeds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from deploy.capacity.assumptions import Assumptions
from deploy.capacity.load import make
from deploy.capacity.reporting import tables
from deploy.capacity.reporting.figures import Row, rows
from deploy.capacity.run import Run, simulate
from deploy.capacity.scaled_object import ScaledObject
from deploy.capacity.variation import Axis, combinations, with_values


@dataclasses.dataclass(frozen=True)
class Study:
    """The parameters of a run besides the name of its scenario."""

    scaled_objects: tuple[ScaledObject, ...]
    assumptions: Assumptions
    rate: float
    seed: int
    repeat: int = 1

    def runs(self, name: str) -> list[Run]:
        """Runs the scenario with each seed."""
        seeds = range(self.seed, self.seed + self.repeat)
        return [simulate(make(name, self.rate, seed), self.scaled_objects, self.assumptions, seed) for seed in seeds]

    def vary(self, name: str, axes: Sequence[Axis]) -> list[tuple[tuple[float, ...], Row]]:
        """Runs the scenario with every combination of the axes' values. Returns the rows of the affected lanes."""
        found = []
        for choice, changed in combinations(self.scaled_objects, axes):
            for row in rows(dataclasses.replace(self, scaled_objects=tuple(changed)).runs(name)):
                if row.images and any(row.lane in {lane.value for lane in axis.lanes} for axis in axes):
                    found.append((choice, row))
        return found

    def compare(self, names: Sequence[str], axes: Sequence[Axis]) -> tuple[list[str], list[list[str]]]:
        """Returns the headings and lines of a table of all combinations."""
        headings = [*(axis.text for axis in axes), *tables.HEADINGS]
        found = [each for name in names for each in self.vary(name, axes)]
        return headings, [[*(f"{value:g}" for value in choice), *tables.cells(row)] for choice, row in found]

    def as_json(self, found: Sequence[Row]) -> str:
        """Returns all results and parameters as JSON."""
        about = {
            "rate": self.rate,
            "seed": self.seed,
            "repeat": self.repeat,
            "values": {each.lane.value: with_values(each) for each in self.scaled_objects},
            "assumptions": dataclasses.asdict(self.assumptions),
            "rows": [dataclasses.asdict(row) for row in found],
        }
        return json.dumps(about, indent=1) + "\n"
