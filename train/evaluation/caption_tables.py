"""Caption metrics as plain text, for the terminal and the model card."""

from __future__ import annotations

from typing import Any

from train.evaluation.tables import format_number, table

COLUMNS = {
    "rouge_l": "ROUGE-L",
    "bleu4": "BLEU-4",
    "cider": "CIDEr",
    "rouge_l_raw": "ROUGE-L, raw",
    "bleu4_raw": "BLEU-4, raw",
    "cider_raw": "CIDEr, raw",
    "distinct": "distinct",
    "novel": "novel",
    "words": "words",
    "brand_words": "brand words",
    "contradictions": "contradictions",
}


FAULTS = {
    "stranded": "stranded word",
    "repeated": "repeated word",
    "category": "category as name",
    "order": "word order",
    "kids": "kids' word",
    "one_word": "article alone",
    "other_article": "other category's article",
    "unnamed": "no name",
}


def format_captions(captions: dict[str, Any]) -> str:
    """One table row per source and mode, another for the names' faults, and a line on retrieval if there is any."""
    rows = {f"{captions['source']}, all answered": captions, f"{captions['source']}, served": captions["served"]}
    if "structured" in captions:
        rows |= {
            "structured text, all answered": captions["structured"]["all_answered"],
            "structured text, served": captions["structured"]["served"],
        }
    lines = [(name, *[format_number(row.get(key)) for key in COLUMNS]) for name, row in rows.items()]
    text = table(("captions", *COLUMNS.values()), lines)
    faults = {name: row["faults"] for name, row in rows.items() if "faults" in row}
    if faults:
        shares = [(name, *[format_number(row.get(key)) for key in FAULTS]) for name, row in faults.items()]
        text = "\n\n".join([text, table(("share of names with", *FAULTS.values()), shares)])
    if "retrieval" not in captions:
        return text
    found = captions["retrieval"]
    notes = (
        f"Contradictions with unconstrained decoding: {captions['contradictions_unconstrained']:.3f}.",
        f"Distinct names among the catalogue's cleaned names: {captions['catalogue_distinct']:.3f}.",
        f"Retrieval by cleaned name, recall@10 of its product group: {found['recall_at_10']:.3f} (bag of attributes "
        f"{found['attributes']:.3f}, random {found['random']:.3f}).",
    )
    return "\n\n".join([text, " ".join(notes)])
