"""The taxonomy: tree, lookups, round trip, and rejected data."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.taxonomy import Taxonomy
from train.synthetic.tiny import drawn_taxonomy


def test_the_tree_leads_from_an_article_type_to_the_top() -> None:
    taxonomy = drawn_taxonomy()
    assert taxonomy.ancestor("Shirts", "articleType") == "Shirts"
    assert taxonomy.ancestor("Shirts", "subCategory") == "Topwear"
    assert taxonomy.ancestor("Shirts", "masterCategory") == "Apparel"


def test_derived_levels_are_answered_but_are_no_heads() -> None:
    taxonomy = drawn_taxonomy()
    assert set(taxonomy.derived) == {"subCategory", "masterCategory"}
    assert not set(taxonomy.derived) & set(taxonomy.attributes)
    assert set(taxonomy.values) == set(taxonomy.derived) | set(taxonomy.attributes)


def test_leaf_ancestors_follow_the_order_of_the_head() -> None:
    taxonomy = drawn_taxonomy()
    above = [taxonomy.values["masterCategory"][i] for i in taxonomy.leaf_ancestors("masterCategory")]
    assert above == [taxonomy.ancestor(leaf, "masterCategory") for leaf in taxonomy.attributes["articleType"]]


def test_an_unknown_value_has_no_position() -> None:
    assert drawn_taxonomy().index("baseColour", "Ultraviolet") == -1


def test_it_survives_the_file(tmp_path: Path) -> None:
    drawn_taxonomy().save(tmp_path / "taxonomy.json")
    assert Taxonomy.load(tmp_path / "taxonomy.json") == drawn_taxonomy()


@pytest.mark.parametrize(
    ("attributes", "parents"),
    [
        ({"gender": ["Men"]}, {}),
        ({"articleType": ["A", "A"]}, {"articleType": {"A": "X"}, "subCategory": {"X": "Y"}}),
        ({"articleType": ["A", "B"]}, {"articleType": {"A": "X"}, "subCategory": {"X": "Y"}}),
        ({"articleType": ["A"]}, {"articleType": {"A": "X"}, "subCategory": {}}),
    ],
    ids=["no article types", "a value twice", "an orphan type", "an orphan subCategory"],
)
def test_a_broken_tree_is_refused(attributes: dict[str, list[str]], parents: dict[str, dict[str, str]]) -> None:
    with pytest.raises(ValueError, match=r"articleType|subCategory"):
        Taxonomy.from_json({"version": "1", "attributes": attributes, "parents": parents})
