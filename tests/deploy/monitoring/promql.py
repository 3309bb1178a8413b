"""Which metrics and labels a PromQL query names: enough of the language for our own queries, and no more."""

from __future__ import annotations

import dataclasses
import re

KEYWORDS = frozenset({"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "offset"})
_STRING = re.compile(r'"[^"]*"')
_RANGE = re.compile(r"\[[^\]]*\]")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_WORD = re.compile(r"(?<![\w.:])[a-zA-Z_:][\w:]*(?!\w*\s*\()")


@dataclasses.dataclass
class Named:
    """What a query names.

    Attributes:
        matchers: (metric, label, operator, value) of each `metric{label="value"}`.
        groupings: labels of `by (…)`, `on (…)` and the like.
    """

    metrics: set[str]
    matchers: list[tuple[str, str, str, str]]
    groupings: set[str]


def read(query: str) -> Named:
    """Takes the query apart. Numbers, functions, ranges and `offset 1d` name nothing."""
    rest = re.sub(r"\boffset\s+\w+", "", _RANGE.sub("", query))
    selectors = _SELECTOR.findall(rest)
    matchers = [(metric, *found) for metric, inside in selectors for found in _MATCHER.findall(inside)]
    bare = _STRING.sub("", re.sub(r"\{[^}]*\}", " ", rest))
    groupings = {label.strip() for inside in _GROUPING.findall(bare) for label in inside.split(",")} - {""}
    words = set(_WORD.findall(_GROUPING.sub(" ", bare))) - KEYWORDS
    return Named(words | {metric for metric, _ in selectors}, matchers, groupings)
