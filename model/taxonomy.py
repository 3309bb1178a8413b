"""The taxonomy as data: which attributes there are, their values, and the tree from articleType upwards.

It travels in the bundle as `taxonomy.json`; heads, losses and answers are built from it, never from names in code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

TREE_LEVELS = ("articleType", "subCategory", "masterCategory")
"""The levels of the tree, deepest first."""


@dataclass(frozen=True)
class Taxonomy:
    """Attributes, their values in the order of the heads' outputs, and the tree over the deepest attribute.

    `attributes` are the heads (articleType among them); `parents` maps a level's value to the next level's value:
    `parents["articleType"]["Shirts"] == "Topwear"`.
    """

    version: str
    attributes: dict[str, tuple[str, ...]]
    parents: dict[str, dict[str, str]]

    def __post_init__(self) -> None:
        leaf = TREE_LEVELS[0]
        if leaf not in self.attributes:
            raise ValueError(f"the taxonomy has no attribute {leaf}")
        for attribute, values in self.attributes.items():
            if not values or len(set(values)) != len(values):
                raise ValueError(f"the values of {attribute} are empty or not unique")
        self._check_tree()

    def _check_tree(self) -> None:
        level_values = set(self.attributes[TREE_LEVELS[0]])
        for level in TREE_LEVELS[:-1]:
            parents = self.parents.get(level, {})
            if set(parents) != level_values:
                raise ValueError(f"every {level} needs exactly one parent")
            level_values = set(parents.values())

    @cached_property
    def derived(self) -> dict[str, tuple[str, ...]]:
        """The levels above articleType and their values, sorted; they have no served head of their own."""
        return {upper: tuple(sorted(set(self.parents[lower].values()))) for lower, upper in pairwise(TREE_LEVELS)}

    @cached_property
    def values(self) -> dict[str, tuple[str, ...]]:
        """Every answered attribute and its values: the heads' and the derived ones."""
        return {**self.attributes, **self.derived}

    def index(self, attribute: str, value: str) -> int:
        """Position of a value, or -1 where the taxonomy does not know it."""
        return self._positions[attribute].get(value, -1)

    @cached_property
    def _positions(self) -> dict[str, dict[str, int]]:
        return {name: {value: i for i, value in enumerate(values)} for name, values in self.values.items()}

    def ancestor(self, article_type: str, level: str) -> str:
        """The value at `level` above an articleType (the articleType itself at the deepest level)."""
        value = article_type
        for lower in TREE_LEVELS[: TREE_LEVELS.index(level)]:
            value = self.parents[lower][value]
        return value

    def leaf_ancestors(self, level: str) -> list[int]:
        """For each articleType in head order, the index of its ancestor at `level`."""
        return [self.index(level, self.ancestor(leaf, level)) for leaf in self.attributes[TREE_LEVELS[0]]]

    def to_json(self) -> dict[str, Any]:
        attributes = {name: list(values) for name, values in self.attributes.items()}
        return {"version": self.version, "attributes": attributes, "parents": self.parents}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Taxonomy:
        """Raises KeyError, TypeError or ValueError where the data is no taxonomy."""
        attributes = {name: tuple(values) for name, values in data["attributes"].items()}
        return cls(version=str(data["version"]), attributes=attributes, parents=data["parents"])

    @classmethod
    def load(cls, file: Path) -> Taxonomy:
        return cls.from_json(json.loads(file.read_text(encoding="utf-8")))

    def save(self, file: Path) -> None:
        file.write_text(json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
