"""The model card's part on the captioner: how it writes, what it was measured at, and what it cannot do."""

from __future__ import annotations

from typing import Any

from model.bundle import Bundle
from model.captions.caption_parts import CaptionerParts
from train.evaluation.caption_tables import format_captions

TITLE = "## Captions"


def with_captions(bundle: Bundle, captioner: CaptionerParts, reports: dict[str, dict[str, Any]]) -> str:
    """The bundle's card with this section at its end, in the place of an older one. `reports` are by split."""
    figures = [f"### `{split}`\n\n{format_captions(report)}" for split, report in reports.items() if report]
    return "\n\n".join([bundle.card.split(f"\n{TITLE}")[0].rstrip(), TITLE, _about(captioner), *figures, LIMITS]) + "\n"


def _about(captioner: CaptionerParts) -> str:
    sizes = captioner.sizes
    weights = sum(tensor.numel() for tensor in captioner.weights.values()) / 1e6
    return (
        f"`productDisplayName` is written by a decoder of {weights:.1f} M parameters (width {sizes.width}, "
        f"{sizes.unimodal_layers} unimodal and {sizes.cross_layers} cross-attending\nlayers, {sizes.queries} visual "
        "tokens pooled from the last feature map), trained on the training rows' names with CoCa's caption\nand "
        "contrastive loss (Yu et al., 2022) on the frozen backbone. It may say "
        f"{len(captioner.lexicon.words)} words: the attributes' values, and words\nthat unseen pictures were found to "
        "show. Words that contradict an answer are never said, nor words that tell what is not\nanswered. Image "
        f"embeddings have {sizes.embedding} dimensions and compare within one version of the bundle only."
    )


LIMITS = """`all answered` takes every attribute's best guess for its answer, `served` only those above
thresholds. Scores are against the names of product groups not trained on, cleaned of brands,
numbers, filling words and the words of single product lines, and against the raw names.

- A wrong answer is repeated in the name, since the name follows the answers.
- A second colour is not named: every colour word has to agree with baseColour.
- Many pictures of plain articles get the same name. So they do in the catalogue itself.
- Details are guesses: "solid", "printed" and "graphic" are mixed up, and materials are often those of similar
  articles."""
