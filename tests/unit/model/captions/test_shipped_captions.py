"""The shipped captioner's names have no fault and contradict no answer, for random answers and visual tokens."""

from __future__ import annotations

import random

import pytest
import torch

from model.bundle import SHIPPED, load_bundle
from model.captions.lexicon import Agreement
from model.captions.wording import CATEGORY
from model.captions.writer import DecoderCaptioner
from model.taxonomy import Taxonomy
from train.evaluation.naming.name_checker import NameRules, find_faults

ROWS = 600


def some_answers(taxonomy: Taxonomy, rng: random.Random) -> dict[str, str | None]:
    """Random values, some unanswered; the levels of the tree are consistent."""
    row = {name: rng.choice([*values, None, None]) for name, values in taxonomy.attributes.items()}
    leaf = rng.choice(taxonomy.values["articleType"])
    row["articleType"] = leaf if rng.random() < 0.8 else None
    return row | {level: taxonomy.ancestor(leaf, level) for level in taxonomy.derived}


def test_no_name_contradicts_its_answers_for_any_image() -> None:
    bundle = load_bundle(SHIPPED)
    if bundle.captioner is None:
        pytest.skip("the shipped bundle has no captioner")
    captioner = DecoderCaptioner(bundle.captioner, bundle.taxonomy, torch.device("cpu"), 600)
    rng, sizes = random.Random(0), bundle.captioner.sizes
    rows = [some_answers(bundle.taxonomy, rng) for _ in range(ROWS)]
    visual = torch.randn(ROWS, sizes.queries, sizes.width, generator=torch.Generator().manual_seed(0))
    agreement = Agreement(bundle.captioner.lexicon, bundle.taxonomy)
    names = captioner.write(visual, rows)
    assert all(not name for name, row in zip(names, rows, strict=True) if row["articleType"] is None)
    assert sum(bool(name) for name in names) > ROWS / 2
    found = [(name, agreement.contradictions(name, row)) for name, row in zip(names, rows, strict=True)]
    assert not [pair for pair in found if pair[1]]
    rules = NameRules(bundle.taxonomy, bundle.captioner.lexicon.uses, bundle.captioner.lexicon.nouns - {CATEGORY})
    faults = [(name, find_faults(name, row, rules)) for name, row in zip(names, rows, strict=True)]
    assert not [pair for pair in faults if pair[1]]
