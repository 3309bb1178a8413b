"""Training of a captioner for a bundle, from the catalogue's names to the bundle with the captioner."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer

from model.bundle import Bundle, save_bundle
from model.captions.caption_parts import CaptionerParts, CaptionSizes
from model.captions.lexicon import Lexicon, WordMasks
from model.preprocessing import Pixels
from train.captions.caption_loop import (
    CaptionData,
    CaptionOptions,
    options_json,
    train_captioner,
)
from train.captions.caption_rows import (
    label_sizes,
    make_rows,
    rarity_of,
    train_tokenizer,
)
from train.captions.visible import NamedFeatures, WordRow, find_visible_words
from train.captions.word_claims import count_lexicon
from train.data.catalogue import Item, read_catalogue
from train.data.feature_maps import Maps, compute_maps, map_file
from train.data.images import ImageStore, load_pixels
from train.data.names import NameCleaner, learn_cleaner
from train.evaluation.caption_card import with_captions
from train.evaluation.caption_evaluator import evaluate_captions
from train.evaluation.naming.word_uses import count_uses
from train.evaluation.tables import table

VOCABULARY = 2500


@dataclass(frozen=True)
class CaptionSplit:
    """One split's rows, cleaned names, images, and feature maps (one array per copy of the images)."""

    items: list[Item]
    names: list[list[str]]
    pixels: Pixels
    copies: list[Maps]

    def named_features(self, bundle: Bundle) -> NamedFeatures:
        return NamedFeatures(self.items, self.names, pooled_features(bundle, self.copies[0]))


def write_captioner(
    bundle: Bundle, data: Path, options: CaptionOptions, copies: int, cache: Path | None, *, is_resumed: bool = False
) -> Path:
    """Train a captioner on the bundle's backbone and write the bundle with it; returns its folder, OUT/bundle.

    `copies` is the number of copies of each image, see `train.data.feature_maps`.
    """
    items = read_catalogue(data)
    training = [item for item in items if item.split == "train"]
    cleaner = learn_cleaner(training, bundle.taxonomy, sorted({item.brand for item in items}))
    train = load_split(bundle, data, items, "train", cleaner, cache, copies)
    shares = cleaner.shares()
    unseen = load_split(bundle, data, items, "val", cleaner, cache)
    found = find_visible_words(train.named_features(bundle), unseen.named_features(bundle))
    lexicon = count_lexicon(train.items, train.names, bundle.taxonomy, [row.word for row in found if row.is_visible])
    lexicon = dataclasses.replace(lexicon, uses=count_uses(train.items, bundle.taxonomy, lexicon, cleaner.brands))
    tokenizer = tokenizer_of(options.out, train.names, lexicon, is_resumed=is_resumed)
    sizes = CaptionSizes(
        vocabulary=tokenizer.get_vocab_size(),
        features=train.copies[0].shape[1],
        places=int(np.prod(train.copies[0].shape[2:])),
        values=label_sizes(lexicon, bundle.taxonomy),
        width=options.width,
    )
    masks = WordMasks(lexicon, bundle.taxonomy, tokenizer.get_vocab(), sizes.vocabulary)
    rows, touched = make_rows(train.items, train.names, tokenizer, masks, lexicon, sizes.max_tokens)
    write_summary(options, shares, touched, len(train.items), found, sizes)
    given = CaptionData(rows, train.copies, lexicon.attributes, masks.category)
    network = train_captioner(options, sizes, given, is_resumed=is_resumed)
    network.rarity = rarity_of(rows, lexicon, tokenizer.get_vocab(), sizes)
    halves = {name: tensor.half().float() for name, tensor in network.state_dict().items()}
    parts = CaptionerParts(sizes, halves, lexicon, tokenizer.to_str())
    return save_with_captions(bundle, parts, data, options.out / "bundle", cache)


def save_with_captions(bundle: Bundle, parts: CaptionerParts, data: Path, folder: Path, cache: Path | None) -> Path:
    """Write the bundle with this captioner and its metrics on `val` and `test`; returns the folder."""
    items = read_catalogue(data)
    whole = dataclasses.replace(bundle, captioner=parts)
    reports = {
        split: evaluate_captions(whole, data, split, cache=cache)
        for split in ("val", "test")
        if has_split(items, split)
    }
    metrics = bundle.metrics | {f"captions/{split}": report for split, report in reports.items()}
    save_bundle(dataclasses.replace(whole, metrics=metrics, card=with_captions(bundle, parts, reports)), folder)
    return folder


def has_split(items: list[Item], split: str) -> bool:
    return any(item.split == split for item in items)


def tokenizer_of(out: Path, names: list[list[str]], lexicon: Lexicon, *, is_resumed: bool) -> Tokenizer:
    """The run's tokenizer; a resumed run keeps the one its network was trained with."""
    file = out / "tokenizer.json"
    if is_resumed and file.exists():
        return Tokenizer.from_file(str(file))
    tokenizer = train_tokenizer(names, lexicon, VOCABULARY)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(file))
    return tokenizer


def load_split(
    bundle: Bundle,
    data: Path,
    items: list[Item],
    split: str,
    cleaner: NameCleaner,
    cache: Path | None,
    copies: int = 1,
) -> CaptionSplit:
    """One split's rows that have an image. Raises ValueError if there are none."""
    store = ImageStore(data)
    chosen = [item for item in items if item.split == split and item.image in store]
    if not chosen:
        raise ValueError(f"{data.name} has no images in the split {split!r}")
    images = [item.image for item in chosen]
    pixels = load_pixels(data, images, bundle.size, cache)
    maps = [
        compute_maps(bundle, pixels, copy, map_file(cache, bundle, split, copy, images) if cache else None)
        for copy in range(copies)
    ]
    return CaptionSplit(chosen, [cleaner.clean(item) for item in chosen], pixels, maps)


@torch.inference_mode()
def pooled_features(bundle: Bundle, maps: Maps) -> npt.NDArray[np.float32]:
    """The backbone's pooled features of N feature maps, N x features."""
    network = bundle.network()
    parts = [network.pool(torch.from_numpy(np.array(maps[at : at + 2048])).float()) for at in range(0, len(maps), 2048)]
    features: npt.NDArray[np.float32] = torch.cat(parts).numpy()
    return features


def write_summary(
    options: CaptionOptions,
    shares: dict[str, float],
    touched: Counter[str],
    count: int,
    found: list[WordRow],
    sizes: CaptionSizes,
) -> None:
    """Print the share of rows each rule changed, and write settings, sizes, rules and words to OUT/captions.json."""
    every = shares | {rule: rows / count for rule, rows in touched.items()}
    print(table(("rule", "share of training rows changed"), [(rule, f"{share:.3f}") for rule, share in every.items()]))
    visible = [row.word for row in found if row.is_visible]
    print(f"{len(visible)} of {len(found)} words are visible; vocabulary {sizes.vocabulary}", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    document = {
        "options": options_json(options),
        "sizes": sizes.to_json(),
        "rules": every,
        "words": [dataclasses.asdict(row) | {"is_visible": row.is_visible} for row in found],
    }
    (options.out / "captions.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
