"""The taxonomy: attributes, their values, and the tree from articleType upwards.

A bundle contains it as `taxonomy.json`; heads, losses and answers are built from it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

TREE_LEVELS = ("articleType", "subCategory", "masterCategory")
"""The levels of the client's tree, deepest first; other taxonomies may have other levels or none."""


@dataclass(frozen=True)
class Taxonomy:
    """Attributes with their values, and a tree over the values of one attribute.

    `attributes` are those with a head, with values in the order of its outputs. `levels` are the tree's levels, deepest
    first: an attribute, then derived levels; empty without a tree. `parents` maps each level's values to their parents:
    `parents["articleType"]["Shirts"] == "Topwear"`. Raises ValueError if the parts are inconsistent.
    """

    version: str
    attributes: dict[str, tuple[str, ...]]
    parents: dict[str, dict[str, str]]
    levels: tuple[str, ...] = TREE_LEVELS

    def __post_init__(self) -> None:
        if not self.attributes:
            raise ValueError("the taxonomy has no attributes")
        if self.leaf is not None and self.leaf not in self.attributes:
            raise ValueError(f"the deepest level of the tree, {self.leaf}, is not an attribute of the taxonomy")
        if len(set(self.levels)) != len(self.levels) or set(self.levels[1:]) & set(self.attributes):
            raise ValueError("a level of the tree is listed twice, or a derived level is also an attribute")
        for attribute, values in self.attributes.items():
            if not values or len(set(values)) != len(values):
                raise ValueError(f"the values of {attribute} are empty or not unique")
        self._check_tree()

    @property
    def leaf(self) -> str | None:
        """The deepest level, which has a head; None without a tree."""
        return self.levels[0] if self.levels else None

    def _check_tree(self) -> None:
        level_values = set(self.attributes[self.leaf]) if self.leaf else set()
        for level in self.levels[:-1]:
            parents = self.parents.get(level, {})
            if set(parents) != level_values:
                raise ValueError(f"every value of {level} needs exactly one parent")
            level_values = set(parents.values())

    @cached_property
    def derived(self) -> dict[str, tuple[str, ...]]:
        """The levels above the deepest one and their sorted values; bundles have no heads for them."""
        return {upper: tuple(sorted(set(self.parents[lower].values()))) for lower, upper in pairwise(self.levels)}

    @cached_property
    def values(self) -> dict[str, tuple[str, ...]]:
        """All answered attributes and their values: those with a head and the derived levels."""
        return {**self.attributes, **self.derived}

    def index(self, attribute: str, value: str) -> int:
        """Index of a value, or -1 if the attribute has no such value."""
        return self._positions[attribute].get(value, -1)

    @cached_property
    def _positions(self) -> dict[str, dict[str, int]]:
        return {name: {value: i for i, value in enumerate(values)} for name, values in self.values.items()}

    def ancestor(self, leaf: str, level: str) -> str:
        """The ancestor at `level` of a value of the deepest level; the value itself at the deepest level."""
        value = leaf
        for lower in self.levels[: self.levels.index(level)]:
            value = self.parents[lower][value]
        return value

    def leaf_ancestors(self, level: str) -> list[int]:
        """For each value of the deepest level, in the order of the head's outputs, its ancestor's index at `level`."""
        return [self.index(level, self.ancestor(leaf, level)) for leaf in self.attributes[self.levels[0]]]

    def to_json(self) -> dict[str, Any]:
        attributes = {name: list(values) for name, values in self.attributes.items()}
        return {
            "version": self.version,
            "attributes": attributes,
            "levels": list(self.levels),
            "parents": self.parents,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Taxonomy:
        """Read the data of `to_json`. Raises KeyError, TypeError or ValueError if it is not a taxonomy."""
        attributes = {name: tuple(values) for name, values in data["attributes"].items()}
        levels = tuple(str(level) for level in data.get("levels", TREE_LEVELS))
        return cls(str(data["version"]), attributes, parents=data.get("parents", {}), levels=levels)

    @classmethod
    def load(cls, file: Path) -> Taxonomy:
        return cls.from_json(json.loads(file.read_text(encoding="utf-8")))

    def save(self, file: Path) -> None:
        file.write_text(json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
