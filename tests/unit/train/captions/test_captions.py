"""A captioner trained on generated data: targets, resuming, the command, its evaluation, and that it learns."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from model.bundle import Bundle, load_bundle
from model.captions.caption_parts import END, PAD
from model.captions.lexicon import WordMasks
from model.predictor import Predictor, make_captioner
from train.caption_rivals import main as rivals
from train.captions.__main__ import main as train_captions
from train.captions.caption_loop import CaptionOptions, contrastive_loss
from train.captions.caption_rows import (
    CaptionRows,
    hide_answers,
    inputs_and_targets,
    make_rows,
    target_words,
    train_tokenizer,
)
from train.captions.captions import write_captioner
from train.captions.word_claims import count_lexicon
from train.data.catalogue import Item, read_catalogue
from train.data.drawn import draw, write_catalogue
from train.data.names import learn_cleaner
from train.evaluate import main as evaluate
from train.evaluation.caption_evaluator import random_recall, recall


@pytest.fixture(autouse=True, scope="module")
def one_core() -> Iterator[None]:
    """The commands take all cores, which a busy machine makes very slow."""
    with pytest.MonkeyPatch.context() as patch:
        for command in ("captions.__main__", "caption_rivals", "evaluate"):
            patch.setattr(f"train.{command}.available_cores", lambda: 1)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_catalogue(tmp_path_factory.mktemp("captions") / "catalogue", rows=240)


@pytest.fixture(scope="module")
def bundle(smoke_run: Path) -> Bundle:
    return load_bundle(smoke_run / "bundle")


@pytest.fixture(scope="module")
def written(smoke_run: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    out = tmp_path_factory.mktemp("run")
    options = ["--bundle", smoke_run / "bundle", "--data", data, "--out", out, "--epochs", 40, "--width", 32]
    result = CliRunner().invoke(
        train_captions, [*map(str, options), "--cache", str(out / "cache")], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    assert "share of training rows changed" in result.output
    return out


def prepared(data: Path, bundle: Bundle) -> tuple[CaptionRows, WordMasks, tuple[str, ...]]:
    items = [item for item in read_catalogue(data) if item.split == "train"]
    cleaner = learn_cleaner(items, bundle.taxonomy)
    names = [cleaner.clean(item) for item in items]
    lexicon = count_lexicon(items, names, bundle.taxonomy, [])
    tokenizer = train_tokenizer(names, lexicon, 500)
    masks = WordMasks(lexicon, bundle.taxonomy, tokenizer.get_vocab(), tokenizer.get_vocab_size())
    return make_rows(items, names, tokenizer, masks, lexicon, 8)[0], masks, lexicon.attributes


def test_the_captioner_learns_the_drawn_names(written: Path) -> None:
    bundle = load_bundle(written / "bundle")
    bold = {name: dataclasses.replace(row, threshold=0.0) for name, row in bundle.calibration.items()}
    bundle, device = dataclasses.replace(bundle, calibration=bold), torch.device("cpu")
    predictor = Predictor(bundle, device, make_captioner(bundle, device, 60_000))
    pictures = [("Skirts", "Green"), ("Caps", "Red"), ("Formal Shoes", "Black")]
    pixels = [predictor.preprocess(draw(*picture, (180, 240), 99 + at)) for at, picture in enumerate(pictures)]
    for answer in predictor.predict(pixels):
        assert answer.caption_source == "decoder"
        noun = str(answer.metadata["articleType"]).split()[0].removesuffix("s")
        assert noun in str(answer.metadata["productDisplayName"])


def test_the_heads_are_not_touched(written: Path, bundle: Bundle) -> None:
    after = load_bundle(written / "bundle")
    assert after.weights.keys() == bundle.weights.keys()
    assert all(torch.equal(tensor, after.weights[name]) for name, tensor in bundle.weights.items())
    assert (after.calibration, after.version) == (bundle.calibration, bundle.version)


def test_the_run_keeps_its_look_up_and_rules(written: Path) -> None:
    document = json.loads((written / "captions.json").read_text())
    assert document["rules"]["filling words"] == 0
    assert {"word", "rows", "auc", "is_visible"} <= set(document["words"][0])


def test_a_run_resumes_where_it_ended(written: Path, data: Path, bundle: Bundle, tmp_path: Path) -> None:
    short = CaptionOptions(tmp_path, epochs=1, width=16)
    write_captioner(bundle, data, short, 1, written / "cache")
    longer = dataclasses.replace(short, epochs=2)
    write_captioner(bundle, data, longer, 1, written / "cache", is_resumed=True)
    assert torch.load(tmp_path / "captioner.pt", weights_only=True)["clock"][0] == 2


def test_evaluation_includes_captions(written: Path, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    arguments = ["--bundle", str(written / "bundle"), "--data", str(data), "--json", str(file)]
    result = CliRunner().invoke(evaluate, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    captions = json.loads(file.read_text())["captions"]
    assert captions["source"] == "decoder"
    assert captions["rouge_l"] > 0.7
    assert captions["contradictions"] == captions["served"]["contradictions"] == captions["brand_words"] == 0
    assert captions["retrieval"]["recall_at_10"] > captions["retrieval"]["random"]
    assert "captions" in result.output


def test_rivals_stand_in_one_table(written: Path, data: Path, tmp_path: Path) -> None:
    arguments = ["--bundle", str(written / "bundle"), "--data", str(data), "--cache", str(written / "cache")]
    arguments += ["--ablation", str(written / "bundle"), "--json", str(tmp_path / "rivals.json")]
    result = CliRunner().invoke(rivals, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "rivals.json").read_text())["rivals"]
    assert {"structured text, served", "nearest training picture's name"} <= set(figures)
    assert figures["nearest training picture's name"]["novel"] == 0


def test_targets_agree_with_their_labels(data: Path, bundle: Bundle) -> None:
    items = [item for item in read_catalogue(data) if item.split == "train"]
    cleaner = learn_cleaner(items, bundle.taxonomy)
    lexicon = count_lexicon(items, [cleaner.clean(item) for item in items], bundle.taxonomy, [])
    shirt = Item("1", "train", "1", {"gender": "Men", "baseColour": "Red", "articleType": "Shirts"}, "", None)
    touched: Counter[str] = Counter()
    assert target_words(["women", "red", "skirt", "unheard"], shirt.labels, lexicon, touched) == ["red", "shirt"]
    assert touched == {"words no picture shows": 1, "words against the row's labels": 1, "article type added": 1}


def test_a_hidden_answer_is_hidden_from_the_name_too(data: Path, bundle: Bundle) -> None:
    rows, masks, attributes = prepared(data, bundle)
    places, tokens = hide_answers(rows, torch.arange(60), attributes, masks.category, torch.Generator().manual_seed(0))
    leaf = attributes.index("articleType")
    hidden = places[:, leaf] < 0
    assert 5 < int(hidden.sum()) < 40
    assert torch.equal((tokens == masks.category).any(dim=1), hidden)
    for row, place in zip(tokens, places, strict=True):
        words = row[row != PAD]
        assert bool(masks.allowed(place[None])[0, words].all())
        assert bool((row[len(words) :] == PAD).all())
    shown = ~hidden & (places == rows.places[:60]).all(dim=1)
    assert torch.equal(tokens[shown], rows.tokens[:60][shown])


def test_every_word_is_followed_by_the_next_and_the_last_by_the_end() -> None:
    inputs, targets = inputs_and_targets(torch.tensor([[5, 6, PAD], [7, PAD, PAD]]))
    assert inputs.tolist() == [[1, 5, 6], [1, 7, PAD]]
    assert targets.tolist() == [[5, 6, END], [7, END, PAD]]


def test_equal_names_are_no_negatives() -> None:
    same = torch.nn.functional.normalize(torch.ones(2, 4))
    equal = contrastive_loss(same, same, torch.tensor(4.0), torch.tensor([3, 3]))
    apart = torch.eye(2, 4)
    assert float(contrastive_loss(apart, apart, torch.tensor(4.0), torch.tensor([0, 1]))) < 1e-6
    assert float(equal) == pytest.approx(float(torch.tensor(2.0).log()))


def test_recall_at_ten() -> None:
    groups = torch.arange(40).numpy() // 2
    assert recall(torch.eye(40).numpy(), groups) == 1
    assert random_recall(groups) == pytest.approx(1 - (30 / 40) * (29 / 39))
