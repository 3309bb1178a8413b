"""From logits to calibrated scores: softmax per head, and sums up the tree for the derived levels.

People's own photos are harder than catalogue pictures, and a network is no less sure of itself on them. One temperature
for both would break the promise on photos or silence the catalogue; so the network also says which of the two
a picture looks like, and on photos every temperature is higher.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from model.answer import ALTERNATIVES, Alternative, Prediction
from model.bundle import Calibration
from model.nets.network import PHOTO_HEAD
from model.taxonomy import Taxonomy


def scores_from(
    logits: Mapping[str, torch.Tensor],
    taxonomy: Taxonomy,
    calibration: Mapping[str, Calibration],
    photo_factor: float = 1.0,
) -> dict[str, torch.Tensor]:
    """Calibrated scores of every answered attribute, each N x values with rows that sum to 1.

    A derived level's score is the sum over the values below it, so it is never smaller than any of theirs. One
    temperature leaves middling scores too high (label smoothing holds the high ones down), hence the softness.
    """
    softer = photo_factor ** torch.sigmoid(logits[PHOTO_HEAD].double())
    scores = {}
    for name in taxonomy.attributes:
        scaled = logits[name].double() / calibration[name].temperature
        unsure = 1 - torch.softmax(scaled, dim=1).amax(dim=1, keepdim=True)
        scores[name] = torch.softmax(scaled / (calibration[name].softness ** unsure * softer), dim=1)
    for level in taxonomy.levels[1:]:
        leaves = scores[taxonomy.levels[0]]
        sums = torch.zeros(len(leaves), len(taxonomy.values[level]), dtype=leaves.dtype, device=leaves.device)
        above = torch.tensor(taxonomy.leaf_ancestors(level), device=leaves.device)
        scores[level] = sums.index_add_(1, above, leaves)
    return scores


def predictions_from(
    scores: Mapping[str, torch.Tensor],
    taxonomy: Taxonomy,
    calibration: Mapping[str, Calibration],
    in_domain: torch.Tensor | None = None,
) -> list[dict[str, Prediction]]:
    """One dict of predictions per row of the scores, in the taxonomy's order.

    A row whose `in_domain` (N logits) is below 0 shows no product: nothing of it is answered.
    """
    count = len(next(iter(scores.values())))
    is_product = [True] * count if in_domain is None else (in_domain >= 0).tolist()
    columns = {
        name: _column(scores[name], taxonomy.values[name], calibration[name].threshold, is_product) for name in scores
    }
    return [{name: column[row] for name, column in columns.items()} for row in range(count)]


def _column(
    scores: torch.Tensor, values: tuple[str, ...], threshold: float, is_product: list[bool]
) -> list[Prediction]:
    best = scores.topk(min(ALTERNATIVES, len(values)), dim=1)
    rows = zip(best.values.tolist(), best.indices.tolist(), is_product, strict=True)
    return [_prediction(row, [values[i] for i in indices], threshold, told) for row, indices, told in rows]


def _prediction(scores: list[float], values: list[str], threshold: float, is_product: bool) -> Prediction:
    alternatives = tuple(Alternative(value, min(score, 1.0)) for value, score in zip(values, scores, strict=True))
    best = alternatives[0]
    is_answered = is_product and best.score >= threshold
    return Prediction(best.value if is_answered else None, best.score, threshold, alternatives)
