"""Evaluation of a bundle's display names on one split: similarity to the catalogue's names, agreement with the
answers, variety, and text-to-image retrieval.

Every metric exists in two modes: in `all_answered` each attribute's best guess counts as its answer, in `served` only
guesses at or above their thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.answer import Prediction
from model.bundle import Bundle
from model.captions.captioner import name_from
from model.captions.lexicon import Agreement, Lexicon
from model.captions.wording import CATEGORY, words_of_name
from model.captions.writer import DecoderCaptioner
from model.preprocessing import Pixels
from model.scoring import predictions_from, scores_from
from train.data.catalogue import Columns, Item, read_catalogue
from train.data.feature_maps import Maps, compute_maps
from train.data.images import ImageStore, load_pixels
from train.data.names import NameCleaner, learn_cleaner, named_brands
from train.evaluation.caption_scores import bleu4, cider, rouge_l
from train.evaluation.inference import compute_logits
from train.evaluation.naming.name_checker import NameRules, count_faults
from train.evaluation.naming.word_uses import count_uses

Answers = Mapping[str, str | None]
MODES = ("all_answered", "served")
RECALL_AT, ROWS_AT_ONCE = 10, 256


@dataclass(frozen=True)
class CaptionReferences:
    """The rows of a split with their reference names, and the vocabulary needed to score names against them.

    `cleaned` are the rows' names as lists of words; `trained` are the training rows' cleaned names; `brands` are brand
    words, `brand_names` whole brand names; `phrases` maps multi-word values to single words. `rules` are learnt from
    the training rows' names.
    """

    bundle: Bundle
    items: Sequence[Item]
    cleaned: Sequence[Sequence[str]]
    trained: frozenset[str]
    brands: frozenset[str]
    brand_names: Sequence[str]
    phrases: Mapping[tuple[str, ...], str]
    lexicon: Lexicon | None
    rules: NameRules | None = None


def evaluate_captions(
    bundle: Bundle, folder: Path, split: str, columns: Columns | None = None, cache: Path | None = None
) -> dict[str, Any]:
    """Metrics of the bundle's names and of structured text on one split; empty if the rows have no names."""
    items = read_catalogue(folder, bundle.taxonomy.values, columns)
    store = ImageStore(folder)
    chosen = [item for item in items if item.split == split and item.image in store]
    if not any(item.name for item in chosen):
        return {}
    references, _ = load_references(bundle, items, chosen)
    pixels = load_pixels(folder, [item.image for item in chosen], bundle.size, cache)
    return caption_figures(references, pixels, compute_maps(bundle, pixels))


def load_references(
    bundle: Bundle, items: Sequence[Item], chosen: Sequence[Item]
) -> tuple[CaptionReferences, NameCleaner]:
    """References for the `chosen` rows, and the cleaner of their names.

    The cleaner is fitted on the training rows among `items`; brands are those of all `items`.
    """
    training = [item for item in items if item.split == "train"]
    names = sorted({item.brand for item in items if item.brand})
    cleaner = learn_cleaner(training, bundle.taxonomy, names)
    trained = frozenset(" ".join(split_phrases(cleaner.clean(item))) for item in training)
    lexicon = bundle.captioner.lexicon if bundle.captioner else None
    cleaned = [cleaner.clean(item) for item in chosen]
    rules = None
    if lexicon:
        uses = count_uses(training, bundle.taxonomy, lexicon, cleaner.brands)
        rules = NameRules(bundle.taxonomy, uses, lexicon.nouns - {CATEGORY})
    references = CaptionReferences(
        bundle, chosen, cleaned, trained, cleaner.brands, names, cleaner.phrases, lexicon, rules
    )
    return references, cleaner


def caption_figures(references: CaptionReferences, pixels: Pixels, maps: Maps) -> dict[str, Any]:
    """Metrics of the captioner, with those of structured text as a baseline; without a captioner, the latter alone."""
    found = predictions_by_mode(references.bundle, pixels)
    answers = {mode: answers_of(rows) for mode, rows in found.items()}
    structured = {
        mode: score_names(references, structured_names(references.bundle, rows), answers[mode])
        for mode, rows in found.items()
    }
    if references.bundle.captioner is None:
        return {"source": "structured", **structured["all_answered"], "served": structured["served"]}
    captioner = DecoderCaptioner(references.bundle.captioner, references.bundle.taxonomy, torch.device("cpu"), 60.0)
    own = {
        mode: score_names(references, caption_names(captioner, maps, rows), answers[mode])
        for mode, rows in found.items()
    }
    free = unconstrained_names(captioner, maps, answers["all_answered"])
    return {
        "source": captioner.source,
        **own["all_answered"],
        "served": own["served"],
        "structured": structured,
        "contradictions_unconstrained": score_names(references, free, answers["all_answered"])["contradictions"],
        "catalogue_distinct": len({" ".join(words) for words in references.cleaned}) / len(references.cleaned),
        "retrieval": retrieval(references, captioner, maps, answers["all_answered"]),
    }


def predictions_by_mode(bundle: Bundle, pixels: Pixels) -> dict[str, list[dict[str, Prediction]]]:
    """The predictions for all images in each of MODES."""
    logits = compute_logits(bundle.network(), pixels, bundle.mean, bundle.std)
    tensors = {name: torch.from_numpy(rows) for name, rows in logits.items()}
    scores = scores_from(tensors, bundle.taxonomy, bundle.calibration, bundle.photo_factor)
    found = predictions_from(scores, bundle.taxonomy, bundle.calibration)
    every = [{name: with_best_guess(row) for name, row in prediction.items()} for prediction in found]
    return {"all_answered": every, "served": found}


def answers_of(predictions: Sequence[Mapping[str, Prediction]]) -> list[Answers]:
    return [{name: row.value for name, row in prediction.items()} for prediction in predictions]


def structured_names(bundle: Bundle, predictions: Sequence[Mapping[str, Prediction]]) -> list[str]:
    """Structured texts; empty for a row without one."""
    return [name_from(prediction, bundle.taxonomy) or "" for prediction in predictions]


def with_best_guess(prediction: Prediction) -> Prediction:
    """The prediction with its best guess as the answer."""
    best = prediction.alternatives[0]
    return Prediction(best.value, best.score, 0.0, prediction.alternatives)


def caption_names(
    captioner: DecoderCaptioner, maps: Maps, predictions: Sequence[Mapping[str, Prediction]]
) -> list[str]:
    """The names that the captioner serves for these predictions; empty for a row without one."""
    names: list[str] = []
    for at in range(0, len(maps), ROWS_AT_ONCE):
        with torch.inference_mode():
            features = torch.from_numpy(np.array(maps[at : at + ROWS_AT_ONCE]))
            names += [row.text or "" for row in captioner.caption(predictions[at : at + ROWS_AT_ONCE], features)]
    return names


def unconstrained_names(captioner: DecoderCaptioner, maps: Maps, answers: Sequence[Answers]) -> list[str]:
    """The names that the captioner's network would write if no word were forbidden, dropped or moved."""
    names: list[str] = []
    for at in range(0, len(maps), ROWS_AT_ONCE):
        with torch.inference_mode():
            visual = captioner.network.encode_image(torch.from_numpy(np.array(maps[at : at + ROWS_AT_ONCE])).float())
        names += captioner.write(visual, answers[at : at + ROWS_AT_ONCE], is_unconstrained=True)
    return names


def score_names(references: CaptionReferences, names: Sequence[str], answers: Sequence[Answers]) -> dict[str, Any]:
    """Metrics of the names, which were written for these `answers`.

    `rouge_l`, `bleu4` and `cider` compare with the cleaned names, those with `_raw` with the catalogue's raw names.
    `distinct` is the share of different names, `novel` the share that no training row has, `words` the mean length,
    `brand_words` the share with a brand in it, `contradictions` the share that contradicts an answer. `faults` are the
    shares of names with each fault of `train.evaluation.naming.name_checker`.
    """
    texts = [split_phrases(words_of_name(name)) for name in names]
    cleaned = [split_phrases(words) for words in references.cleaned]
    raw = [words_of_name(item.name) for item in references.items]
    joined = [" ".join(text) for text in texts]
    figures: dict[str, Any] = {
        "rouge_l": rouge_l(texts, cleaned),
        "bleu4": bleu4(texts, cleaned),
        "cider": cider(texts, cleaned),
        "rouge_l_raw": rouge_l(texts, raw),
        "bleu4_raw": bleu4(texts, raw),
        "cider_raw": cider(texts, raw),
        "distinct": len(set(joined)) / len(joined),
        "novel": float(np.mean([text not in references.trained for text in joined])),
        "words": float(np.mean([len(text) for text in texts])),
        "brand_words": float(np.mean([has_brand(references, name) for name in names])),
    }
    if references.lexicon:
        rows = zip(names, answers, strict=True)
        agreement = Agreement(references.lexicon, references.bundle.taxonomy)
        against = [agreement.contradictions(name, row) for name, row in rows]
        figures["contradictions"] = float(np.mean([bool(found) for found in against]))
    if references.rules:
        figures["faults"] = count_faults(names, answers, references.rules)
    return figures


def has_brand(references: CaptionReferences, name: str) -> bool:
    return bool(named_brands(name, references.brands, references.brand_names, references.phrases))


def split_phrases(words: Sequence[str]) -> list[str]:
    """Split multi-word values into single words: navy_blue becomes two."""
    return [part for word in words for part in word.split("_")]


def retrieval(
    references: CaptionReferences, captioner: DecoderCaptioner, maps: Maps, answers: Sequence[Answers]
) -> dict[str, float]:
    """Recall@10 of text-to-image retrieval: each row's cleaned name is the query, its product group the target.

    All images of the split are ranked. Baselines: `random` is the expected recall of ten random images, `attributes`
    ranks by the number of query words among the predicted attributes' words (ties broken at random).
    """
    groups = np.unique([item.group for item in references.items], return_inverse=True)[1]
    with torch.inference_mode():
        parts = [
            captioner.network.embed_image(
                captioner.network.encode_image(torch.from_numpy(np.array(maps[at : at + 256])).float())
            )
            for at in range(0, len(maps), 256)
        ]
    pictures = torch.cat(parts).numpy()
    texts = captioner.embed_texts([" ".join(split_phrases(words)) for words in references.cleaned]).astype(np.float32)
    rng = np.random.default_rng(0)
    bags = [set(split_phrases(words_of_name(" ".join(value for value in row.values() if value)))) for row in answers]
    overlap = np.array(
        [[len(bag.intersection(words)) for bag in bags] for words in map(split_phrases, references.cleaned)],
        dtype=np.float32,
    )
    return {
        "recall_at_10": recall(texts @ pictures.T, groups),
        "attributes": recall(overlap + rng.random(overlap.shape) * 0.5, groups),
        "random": random_recall(groups),
    }


def recall(scores: npt.NDArray[Any], groups: npt.NDArray[np.int64]) -> float:
    """Share of rows with an image of their group among the ten best; `scores` is queries x images."""
    best = np.argpartition(-scores, min(RECALL_AT, scores.shape[1] - 1), axis=1)[:, :RECALL_AT]
    return float((groups[best] == groups[:, None]).any(axis=1).mean())


def random_recall(groups: npt.NDArray[np.int64]) -> float:
    """Probability that ten random images include one of the row's group, averaged over rows."""
    count = len(groups)
    sizes = np.bincount(groups)[groups]
    missed = np.ones(count)
    for drawn in range(min(RECALL_AT, count)):
        missed *= np.clip((count - sizes - drawn) / (count - drawn), 0, None)
    return float((1 - missed).mean())
