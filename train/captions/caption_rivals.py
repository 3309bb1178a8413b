"""`python -m train.caption_rivals`: a captioner beside what it has to beat, as a table, with examples to read.

Rivals: structured text from the same answers, the name of the nearest training picture (by the backbone's pooled_features
features), the same captioner with beam search, and bundles of ablations.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from model.bundle import Bundle
from model.captions.decoding import beam
from model.captions.wording import text_of
from model.captions.writer import DecoderCaptioner
from train.captions.captions import CaptionSplit, pooled_features
from train.data.feature_maps import Maps
from train.evaluation.caption_evaluator import (
    MODES,
    Answers,
    CaptionReferences,
    caption_names,
    structured_names,
)
from train.evaluation.tables import format_number, table

COLUMNS = ("rouge_l", "bleu4", "cider", "rouge_l_raw", "bleu4_raw", "cider_raw", "distinct", "novel", "words")
COLUMNS += ("brand_words", "contradictions")
EXAMPLES = 30


def decoder_captioner(bundle: Bundle) -> DecoderCaptioner:
    """The bundle's captioner without a limit of time. Raises ValueError where it has none."""
    if bundle.captioner is None:
        raise ValueError(f"{bundle.name} {bundle.version} has no captioner")
    return DecoderCaptioner(bundle.captioner, bundle.taxonomy, torch.device("cpu"), 600.0)


def rival_names(
    bundle: Bundle, captioner: DecoderCaptioner, train: CaptionSplit, rows: CaptionSplit
) -> dict[str, list[str]]:
    """Every rival's names of a split's rows."""
    maps = rows.copies[0]
    structured = structured_names(bundle, rows.pixels)
    every, served = (structured[mode][1] for mode in MODES)
    return {
        "captioner, all answered": caption_names(captioner, maps, every),
        "captioner, served": caption_names(captioner, maps, served),
        "captioner unconstrained, all answered": caption_names(captioner, maps, every, is_unconstrained=True),
        "captioner by beam of 4, all answered": beam_names(captioner, maps, every),
        "structured text, all answered": structured["all_answered"][0],
        "structured text, served": structured["served"][0],
        "nearest training picture's name": nearest_neighbour_names(bundle, train, rows),
    }


def beam_names(captioner: DecoderCaptioner, maps: Maps, answers: Sequence[Answers]) -> list[str]:
    names = []
    for at in range(0, len(maps), 128):
        rows = answers[at : at + 128]
        with torch.inference_mode():
            visual = captioner.network.encode_image(torch.from_numpy(np.array(maps[at : at + 128])).float())
        found = beam(captioner.network, visual, captioner.masks.places(rows), captioner.masks)
        names += [captioner.text(tokens, row) for tokens, row in zip(found, rows, strict=True)]
    return names


def nearest_neighbour_names(bundle: Bundle, train: CaptionSplit, rows: CaptionSplit) -> list[str]:
    """For each row the cleaned name of the training picture whose pooled_features features point the same way."""
    known, asked = (
        torch.nn.functional.normalize(torch.from_numpy(pooled_features(bundle, s.copies[0]))) for s in (train, rows)
    )
    best = torch.cat([(part @ known.T).argmax(dim=1) for part in asked.split(256)]).tolist()
    return [text_of(train.names[row]) for row in best]


def format_rivals(report: dict[str, Any]) -> str:
    lines = [(rival, *[format_number(row.get(key)) for key in COLUMNS]) for rival, row in report["rivals"].items()]
    found = [(name, *[format_number(value) for value in row.values()]) for name, row in report["retrieval"].items()]
    return "\n\n".join(
        [table(("names", *COLUMNS), lines), table(("retrieval", "recall@10", "bag of attributes", "random"), found)]
    )


def examples(references: CaptionReferences, names: dict[str, list[str]]) -> str:
    """Rows drawn at random, to read: the catalogue's name and what each of the first rivals says."""
    shown = (
        "captioner, all answered",
        "captioner, served",
        "structured text, served",
        "nearest training picture's name",
    )
    picked = sorted(random.Random(0).sample(range(len(references.items)), min(EXAMPLES, len(references.items))))
    rows = [(references.items[at].name, *[names[rival][at] for rival in shown]) for at in picked]
    return table(("catalogue's name", *shown), rows)
