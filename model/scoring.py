"""Calibrated scores from logits: softmax per head, and sums over the tree for derived levels.

Customer photos are harder than catalogue images, but the network is just as confident on them. One temperature for both
would miss the target precision on photos, or leave most catalogue images unanswered. So the photo head estimates which
of the two an image is, and temperatures are higher for photos.
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
    """Calibrated scores per attribute, derived levels included, N x values each; rows sum to 1.

    The score of a derived level's value is the sum over its children, so it is never smaller than theirs. A single
    temperature would leave medium scores too high, because label smoothing holds high scores down; `softness` corrects
    that.
    """
    photo = torch.sigmoid(logits[PHOTO_HEAD].double())
    scores = {}
    for name in taxonomy.attributes:
        own_factor = calibration[name].photo_factor
        # An attribute's own factor belongs to its head for photos, which answers an image wholly or not at all.
        photo_factors = photo_factor**photo if own_factor is None else own_factor ** photo.round()
        scaled = logits[name].double() / calibration[name].temperature
        unsure = 1 - torch.softmax(scaled, dim=1).amax(dim=1, keepdim=True)
        scores[name] = torch.softmax(scaled / (calibration[name].softness ** unsure * photo_factors), dim=1)
    for level in taxonomy.levels[1:]:
        leaves = scores[taxonomy.levels[0]]
        sums = torch.zeros(len(leaves), len(taxonomy.values[level]), dtype=leaves.dtype, device=leaves.device)
        ancestors = torch.tensor(taxonomy.leaf_ancestors(level), device=leaves.device)
        scores[level] = sums.index_add_(1, ancestors, leaves)
    return scores


def predictions_from(
    scores: Mapping[str, torch.Tensor],
    taxonomy: Taxonomy,
    calibration: Mapping[str, Calibration],
    in_domain: torch.Tensor | None = None,
) -> list[dict[str, Prediction]]:
    """Predictions per row of the scores, in the taxonomy's order.

    `in_domain` are N logits; a row with a negative one shows no product, so none of its attributes is answered.
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
    return [_prediction(row, [values[i] for i in indices], threshold, product) for row, indices, product in rows]


def _prediction(scores: list[float], values: list[str], threshold: float, is_product: bool) -> Prediction:
    alternatives = tuple(Alternative(value, min(score, 1.0)) for value, score in zip(values, scores, strict=True))
    best = alternatives[0]
    is_answered = is_product and best.score >= threshold
    return Prediction(best.value if is_answered else None, best.score, threshold, alternatives)
