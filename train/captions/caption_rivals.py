"""Comparison of a captioner with its baselines: structured text, nearest neighbours, beam search and ablations."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.answer import Prediction
from model.bundle import Bundle, load_bundle
from model.captions.decoding import beam
from model.captions.wording import text_of
from model.captions.writer import DecoderCaptioner
from train.captions.captions import CaptionSplit, load_split, pooled_features
from train.data.catalogue import read_catalogue
from train.data.feature_maps import Maps
from train.evaluation.caption_evaluator import (
    MODES,
    Answers,
    CaptionReferences,
    answers_of,
    caption_names,
    load_references,
    predictions_by_mode,
    retrieval,
    score_names,
    structured_names,
    unconstrained_names,
)
from train.evaluation.tables import format_number, table

COLUMNS = ("rouge_l", "bleu4", "cider", "rouge_l_raw", "bleu4_raw", "cider_raw", "distinct", "novel", "words")
COLUMNS += ("brand_words", "contradictions")
EXAMPLES = 30
NO_BUDGET_LIMIT_S = 600.0


def compare(
    folder: Path, data: Path, split: str, ablations: Sequence[Path], cache: Path | None
) -> tuple[dict[str, Any], str]:
    """Returns the metrics of all rivals as a JSON-ready dict, and a table of example names.

    A bundle is listed under the name of its run, the parent of its folder. Raises BundleError if a bundle cannot be
    read and ValueError if one has no captioner.
    """
    bundle = load_bundle(folder)
    captioner = decoder_captioner(bundle)
    others = {ablation.parent.name: decoder_captioner(load_bundle(ablation)) for ablation in ablations}
    items = read_catalogue(data)
    _, cleaner = load_references(bundle, items, [])
    train, rows = (load_split(bundle, data, items, name, cleaner, cache) for name in ("train", split))
    references, _ = load_references(bundle, items, rows.items)
    predictions = predictions_by_mode(bundle, rows.pixels)
    answers = {mode: answers_of(predictions[mode]) for mode in MODES}
    names = rival_names(bundle, captioner, train, rows, predictions)
    for run, other in others.items():
        names |= {f"{run}, {mode}": caption_names(other, rows.copies[0], predictions[mode]) for mode in MODES}
    report = {
        "rivals": score_rivals(references, names, answers),
        "retrieval": {
            run: retrieval(references, each, rows.copies[0], answers["all_answered"])
            for run, each in ({folder.parent.name: captioner} | others).items()
        },
    }
    return report, examples(references, names)


def decoder_captioner(bundle: Bundle) -> DecoderCaptioner:
    """The bundle's captioner, in effect without a time limit. Raises ValueError if the bundle has none."""
    if bundle.captioner is None:
        raise ValueError(f"{bundle.name} {bundle.version} has no captioner")
    return DecoderCaptioner(bundle.captioner, bundle.taxonomy, torch.device("cpu"), NO_BUDGET_LIMIT_S)


def rival_names(
    bundle: Bundle,
    captioner: DecoderCaptioner,
    train: CaptionSplit,
    rows: CaptionSplit,
    predictions: Mapping[str, Sequence[Mapping[str, Prediction]]],
) -> dict[str, list[str]]:
    """The names that each rival gives to the rows of a split."""
    maps = rows.copies[0]
    every, served = (predictions[mode] for mode in MODES)
    return {
        "captioner, all answered": caption_names(captioner, maps, every),
        "captioner, served": caption_names(captioner, maps, served),
        "captioner unconstrained, all answered": unconstrained_names(captioner, maps, answers_of(every)),
        "captioner by beam of 4, all answered": beam_names(captioner, maps, answers_of(every)),
        "structured text, all answered": structured_names(bundle, every),
        "structured text, served": structured_names(bundle, served),
        "nearest training picture's name": nearest_neighbour_names(bundle, train, rows),
    }


def beam_names(captioner: DecoderCaptioner, maps: Maps, answers: Sequence[Answers]) -> list[str]:
    """The captioner's names with beam search instead of greedy search."""
    names = []
    for at in range(0, len(maps), 128):
        rows = answers[at : at + 128]
        with torch.inference_mode():
            visual = captioner.network.encode_image(torch.from_numpy(np.array(maps[at : at + 128])).float())
        found = beam(captioner.network, visual, captioner.masks.places(rows), captioner.masks)
        names += [captioner.text(tokens, row) for tokens, row in zip(found, rows, strict=True)]
    return names


def nearest_neighbour_names(bundle: Bundle, train: CaptionSplit, rows: CaptionSplit) -> list[str]:
    """For each row, the cleaned name of the training image with the highest cosine similarity of pooled features."""
    known, queries = (
        torch.nn.functional.normalize(torch.from_numpy(pooled_features(bundle, split.copies[0])))
        for split in (train, rows)
    )
    best = torch.cat([(part @ known.T).argmax(dim=1) for part in queries.split(256)]).tolist()
    return [text_of(train.names[row]) for row in best]


def score_rivals(
    references: CaptionReferences, names: Mapping[str, Sequence[str]], answers: Mapping[str, Sequence[Answers]]
) -> dict[str, dict[str, float]]:
    """Metrics per rival; contradictions are counted against the answers of the rival's own mode."""
    return {
        rival: score_names(references, made, answers["served" if rival.endswith("served") else "all_answered"])
        for rival, made in names.items()
    }


def format_rivals(report: dict[str, Any]) -> str:
    """The metrics of `compare` as two tables: names and retrieval."""
    lines = [(rival, *[format_number(row.get(key)) for key in COLUMNS]) for rival, row in report["rivals"].items()]
    found = [(name, *[format_number(value) for value in row.values()]) for name, row in report["retrieval"].items()]
    return "\n\n".join(
        [table(("names", *COLUMNS), lines), table(("retrieval", "recall@10", "bag of attributes", "random"), found)]
    )


def examples(references: CaptionReferences, names: Mapping[str, Sequence[str]]) -> str:
    """A table of 30 random rows: the catalogue's name and the names of the main rivals."""
    shown = (
        "captioner, all answered",
        "captioner, served",
        "structured text, served",
        "nearest training picture's name",
    )
    picked = sorted(random.Random(0).sample(range(len(references.items)), min(EXAMPLES, len(references.items))))
    rows = [(references.items[at].name, *[names[rival][at] for rival in shown]) for at in picked]
    return table(("catalogue's name", *shown), rows)
