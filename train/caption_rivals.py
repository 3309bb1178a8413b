"""`python -m train.caption_rivals`: a captioner beside what it has to beat, as a table, with examples to read.

Rivals: structured text from the same answers, the name of the nearest training picture (by the backbone's pooled
features), the same captioner with beam search, and bundles of ablations.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import torch

from model.bundle import load_bundle
from model.nets.cores import available_cores
from train.captions.caption_rivals import decoder_captioner, examples, format_rivals, rival_names
from train.captions.captions import load_split
from train.data.catalogue import read_catalogue
from train.evaluation.caption_evaluator import (
    MODES,
    caption_names,
    load_references,
    retrieval,
    score_names,
    structured_names,
)


@click.command(help=__doc__)
@click.option("--bundle", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--split", default="test", show_default=True)
@click.option("--ablation", "ablations", type=click.Path(path_type=Path, exists=True, file_okay=False), multiple=True)
@click.option(
    "--cache", type=click.Path(path_type=Path, file_okay=False), default=Path("data-cache"), show_default=True
)
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False))
def main(
    bundle: Path, data: Path, split: str, ablations: tuple[Path, ...], cache: Path, json_file: Path | None
) -> None:
    torch.set_num_threads(available_cores())
    given = load_bundle(bundle)
    if given.captioner is None:
        raise click.ClickException(f"{bundle.name} has no captioner")
    items = read_catalogue(data)
    references, cleaner = load_references(given, items, [])
    train, rows = (load_split(given, data, items, name, cleaner, cache) for name in ("train", split))
    references, _ = load_references(given, items, rows.items)
    captioner = decoder_captioner(given)
    answers = {mode: made for mode, (_, made) in structured_names(given, rows.pixels).items()}
    names = rival_names(given, captioner, train, rows)
    for folder in ablations:
        other = decoder_captioner(load_bundle(folder))
        names |= {
            f"{folder.parent.name}, {mode}": caption_names(other, rows.copies[0], answers[mode]) for mode in MODES
        }
    figures = {
        rival: score_names(references, made, answers["served" if rival.endswith("served") else "all_answered"])
        for rival, made in names.items()
    }
    report = {
        "rivals": figures,
        "retrieval": {bundle.parent.name: retrieval(references, captioner, rows.copies[0], answers["all_answered"])},
    }
    for folder in ablations:
        other = decoder_captioner(load_bundle(folder))
        report["retrieval"][folder.parent.name] = retrieval(references, other, rows.copies[0], answers["all_answered"])
    print(format_rivals(report), examples(references, names), sep="\n\n")
    if json_file:
        json_file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
