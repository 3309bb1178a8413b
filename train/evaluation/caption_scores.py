"""BLEU-4, ROUGE-L and CIDEr of captions with one reference each. Texts are lists of words.

BLEU: Papineni et al., ACL 2002 (corpus level, unsmoothed). ROUGE-L: Lin, 2004 (F1, mean over rows). CIDEr: Vedantam
et al., CVPR 2015 (not CIDEr-D; times 10; document frequencies from the given references).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

Words = Sequence[str]
Grams = Counter[tuple[str, ...]]
ORDERS = (1, 2, 3, 4)


def bleu4(captions: Sequence[Words], references: Sequence[Words]) -> float:
    """Corpus BLEU-4, 0..1; 0 if some n-gram order has no match."""
    correct, made = Counter[int](), Counter[int]()
    for caption, reference in zip(captions, references, strict=True):
        for order in ORDERS:
            mine, theirs = grams(caption, order), grams(reference, order)
            correct[order] += (mine & theirs).total()
            made[order] += mine.total()
    if any(correct[order] == 0 for order in ORDERS):
        return 0.0
    length, wanted = sum(map(len, captions)), sum(map(len, references))
    brevity = min(1.0, math.exp(1 - wanted / length))
    return brevity * math.exp(sum(math.log(correct[order] / made[order]) for order in ORDERS) / len(ORDERS))


def rouge_l(captions: Sequence[Words], references: Sequence[Words]) -> float:
    """Mean F1 of the longest common subsequence, 0..1; two empty texts score 1."""
    scores = [_rouge(caption, reference) for caption, reference in zip(captions, references, strict=True)]
    return sum(scores) / len(scores) if scores else 0.0


def _rouge(caption: Words, reference: Words) -> float:
    if not caption and not reference:
        return 1.0
    return 2 * common_length(caption, reference) / (len(caption) + len(reference))


def common_length(first: Words, second: Words) -> int:
    """Length of the longest common subsequence."""
    line = [0] * (len(second) + 1)
    for word in first:
        before = 0
        for at, other in enumerate(second, start=1):
            before, line[at] = line[at], before + 1 if word == other else max(line[at], line[at - 1])
    return line[-1]


def cider(captions: Sequence[Words], references: Sequence[Words]) -> float:
    """Ten times the cosine similarity of tf-idf n-gram vectors, averaged over rows and n = 1 to 4; 0..10."""
    if not captions:
        return 0.0
    total = 0.0
    for order in ORDERS:
        seen = Counter(gram for reference in references for gram in set(grams(reference, order)))
        rarity = {gram: math.log(len(references) / count) for gram, count in seen.items()}
        unseen = math.log(len(references))
        for caption, reference in zip(captions, references, strict=True):
            total += _cosine(grams(caption, order), grams(reference, order), rarity, unseen)
    return 10 * total / len(ORDERS) / len(captions)


def _cosine(mine: Grams, theirs: Grams, rarity: dict[tuple[str, ...], float], unseen: float) -> float:
    ours = {gram: count * rarity.get(gram, unseen) for gram, count in mine.items()}
    wanted = {gram: count * rarity.get(gram, unseen) for gram, count in theirs.items()}
    product = sum(weight * wanted.get(gram, 0.0) for gram, weight in ours.items())
    size = math.sqrt(sum(w * w for w in ours.values())) * math.sqrt(sum(w * w for w in wanted.values()))
    return product / size if size else 0.0


def grams(words: Words, order: int) -> Grams:
    return Counter(tuple(words[at : at + order]) for at in range(len(words) - order + 1))
