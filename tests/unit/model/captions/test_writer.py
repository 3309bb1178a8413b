"""The neural captioner with random weights: agreement with the answers, time limit, failures and embeddings."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from model.bundle import CAPTIONER, BundleError, load_bundle, save_bundle
from model.captions.decoding import beam, greedy
from model.captions.lexicon import Agreement
from model.captions.wording import CATEGORY
from model.captions.writer import DecoderCaptioner
from model.predictor import Predictor, make_captioner
from model.preprocessing import Pixels
from train.data.drawn import COLOURS, TYPES, draw
from train.synthetic.tiny import make_tiny_bundle


@pytest.fixture(scope="module")
def writing_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("writing"), has_captioner=True)


@pytest.fixture(scope="module")
def writing(writing_bundle: Path) -> Predictor:
    return Predictor.load(writing_bundle, device="cpu", threads=1, caption_budget_ms=60_000)


@pytest.fixture(scope="module")
def captioner(writing_bundle: Path) -> DecoderCaptioner:
    bundle = load_bundle(writing_bundle)
    assert bundle.captioner is not None
    return DecoderCaptioner(bundle.captioner, bundle.taxonomy, torch.device("cpu"), 60)


@pytest.fixture(scope="module")
def pictures(writing: Predictor) -> list[Pixels]:
    drawn = [draw(name, colour, (180, 240), 3) for name in TYPES for colour in COLOURS]
    return [writing.preprocess(picture) for picture in drawn]


def visual_tokens(captioner: DecoderCaptioner, count: int, seed: int = 0) -> torch.Tensor:
    sizes = captioner.parts.sizes
    return torch.randn(count, sizes.queries, sizes.width, generator=torch.Generator().manual_seed(seed))


def every_answer(captioner: DecoderCaptioner) -> list[dict[str, str | None]]:
    """Every combination of gender, colour and article type, each answered or not; usage is answered in two of three."""
    values = captioner.taxonomy.values
    choices = [[*values[name], None] for name in ("gender", "baseColour", "articleType")]
    rows = []
    for at, (gender, colour, leaf) in enumerate(itertools.product(*choices)):
        usage = values["usage"][at % len(values["usage"])] if at % 3 else None
        row: dict[str, str | None] = {"gender": gender, "baseColour": colour, "usage": usage, "articleType": leaf}
        parent = captioner.taxonomy.parents["articleType"][leaf] if leaf else values["subCategory"][at % 2]
        rows.append(row | {"subCategory": parent, "masterCategory": captioner.taxonomy.parents["subCategory"][parent]})
    return rows


def written(
    captioner: DecoderCaptioner, rows: Sequence[dict[str, str | None]], *, is_unconstrained: bool = False
) -> list[str]:
    return captioner.write(visual_tokens(captioner, len(rows)), rows, is_unconstrained=is_unconstrained)


def test_no_name_contradicts_its_answers_with_random_weights(captioner: DecoderCaptioner) -> None:
    rows = every_answer(captioner)
    agreement = Agreement(captioner.parts.lexicon, captioner.taxonomy)
    for name, row in zip(written(captioner, rows), rows, strict=True):
        assert not agreement.contradictions(name, row), (name, row)


def test_without_constraints_random_weights_do_contradict(captioner: DecoderCaptioner) -> None:
    rows = every_answer(captioner)
    names = written(captioner, rows, is_unconstrained=True)
    agreement = Agreement(captioner.parts.lexicon, captioner.taxonomy)
    found = [agreement.contradictions(name, row) for name, row in zip(names, rows, strict=True)]
    assert any(found)


def test_unanswered_attributes_are_not_revealed(captioner: DecoderCaptioner) -> None:
    row: dict[str, str | None] = {"masterCategory": "Apparel", "subCategory": "Topwear"}
    hidden = {value for name in ("gender", "baseColour", "usage") for value in captioner.taxonomy.values[name]}
    for name in written(captioner, [row | {"articleType": "Shirts"}] * 20):
        assert not name or "Shirt" in name
        assert not [value for value in hidden if value in name]


def test_the_words_depend_on_the_image(captioner: DecoderCaptioner) -> None:
    row: dict[str, str | None] = {"articleType": "Shirts", "subCategory": "Topwear", "masterCategory": "Apparel"}
    assert len(set(written(captioner, [row] * 30))) > 1


def test_every_name_has_a_noun_no_word_twice_and_an_end(captioner: DecoderCaptioner) -> None:
    rows = every_answer(captioner)
    places = captioner.masks.places(rows)
    visual = visual_tokens(captioner, len(rows))
    for search in (greedy, beam):
        for tokens in search(captioner.network, visual, places, captioner.masks):
            assert len(tokens) == len(set(tokens)) <= captioner.parts.sizes.max_tokens
            assert bool(captioner.masks.nouns[tokens].any())


def test_greedy_with_a_cache_is_greedy_without(captioner: DecoderCaptioner) -> None:
    rows = every_answer(captioner)[:20]
    network, masks = captioner.network, captioner.masks
    visual, places = visual_tokens(captioner, len(rows)), masks.places(rows)
    for at, tokens in enumerate(greedy(network, visual, places, None)):
        read = torch.tensor([[1, *tokens]])
        with torch.inference_mode():
            memory = network.memory(visual[at : at + 1], places[at : at + 1])
            best = network.decode(network.encode_text(read), memory)[0, :, 3:].argmax(dim=1) + 3
        assert tokens == best[: len(tokens)].tolist()


def test_a_name_does_not_depend_on_its_batch(captioner: DecoderCaptioner) -> None:
    rows = every_answer(captioner)[:24]
    visual = visual_tokens(captioner, len(rows))
    alone = [captioner.write(visual[at : at + 1], [row])[0] for at, row in enumerate(rows)]
    assert captioner.write(visual, rows) == alone


def test_answers_carry_names_and_embeddings(writing: Predictor, pictures: list[Pixels]) -> None:
    answers = writing.predict(pictures)
    assert {answer.caption_source for answer in answers} == {"decoder"}
    assert all(answer.metadata["productDisplayName"] for answer in answers)
    assert not any(answer.is_degraded for answer in answers)
    embeddings = np.stack([answer.embedding for answer in answers if answer.embedding is not None])
    assert embeddings.dtype == np.float16
    assert np.linalg.norm(embeddings.astype(np.float32), axis=1) == pytest.approx(1, abs=2e-3)
    assert "embedding" not in str(answers[0].to_json())


def test_out_of_time_is_structured_text_and_degraded(writing_bundle: Path, pictures: list[Pixels]) -> None:
    hasty = Predictor.load(writing_bundle, device="cpu", threads=1, caption_budget_ms=1e-6)
    plain = Predictor.load(writing_bundle, device="cpu", threads=1, caption_budget_ms=0)
    for late, structured in zip(hasty.predict(pictures), plain.predict(pictures), strict=True):
        assert (late.caption_source, late.is_degraded) == ("structured", True)
        assert (structured.caption_source, structured.is_degraded) == ("structured", False)
        assert late.metadata == structured.metadata


def test_a_captioner_that_fails_leaves_structured_text(writing_bundle: Path, pictures: list[Pixels]) -> None:
    predictor = Predictor.load(writing_bundle, device="cpu", threads=1)
    broken = predictor._captioner
    assert isinstance(broken, DecoderCaptioner)
    broken.network.into.weight.data = torch.zeros(1, 1)
    answer = predictor.predict(pictures[:1])[0]
    assert (answer.caption_source, answer.is_degraded, answer.embedding) == ("structured", True, None)
    assert answer.metadata["productDisplayName"]


def test_without_answers_there_is_no_name(writing_bundle: Path, pictures: list[Pixels]) -> None:
    bundle = load_bundle(writing_bundle)
    shy = {name: dataclasses.replace(row, threshold=1.01) for name, row in bundle.calibration.items()}
    bundle, device = dataclasses.replace(bundle, calibration=shy), torch.device("cpu")
    answer = Predictor(bundle, device, make_captioner(bundle, device, 60_000)).predict(pictures[:1])[0]
    assert answer.metadata["productDisplayName"] is None
    assert answer.embedding is not None


def test_text_embeddings_are_in_the_images_space(captioner: DecoderCaptioner) -> None:
    texts = captioner.embed_texts(["Men Navy Blue Shirt", "red skirt", "words that no name has", ""])
    assert texts.shape == (4, captioner.parts.sizes.embedding)
    assert np.linalg.norm(texts.astype(np.float32), axis=1) == pytest.approx(1, abs=2e-3)
    assert np.array_equal(texts[:1], captioner.embed_texts(["men navy blue shirts"]))


def test_the_bundle_keeps_its_captioner(writing_bundle: Path, tmp_path: Path) -> None:
    first = load_bundle(writing_bundle)
    save_bundle(first, tmp_path)
    second = load_bundle(tmp_path)
    assert first.captioner is not None
    assert second.captioner is not None
    assert first.captioner.to_json() == second.captioner.to_json()
    weights = second.captioner.weights
    assert all(torch.equal(tensor, weights[name]) for name, tensor in first.captioner.weights.items())
    save_bundle(dataclasses.replace(first, captioner=None), tmp_path)
    assert load_bundle(tmp_path).captioner is None
    assert not [file for file in CAPTIONER if (tmp_path / file).exists()]


@pytest.mark.parametrize("name", CAPTIONER)
def test_a_damaged_captioner_is_noticed(writing_bundle: Path, tmp_path: Path, name: str) -> None:
    save_bundle(load_bundle(writing_bundle), tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleError, match="damaged"):
        load_bundle(tmp_path)


def test_weights_of_other_sizes_are_refused(writing_bundle: Path) -> None:
    bundle = load_bundle(writing_bundle)
    assert bundle.captioner is not None
    other = dataclasses.replace(bundle.captioner, sizes=dataclasses.replace(bundle.captioner.sizes, width=32))
    with pytest.raises(BundleError, match="does not fit"):
        Predictor(dataclasses.replace(bundle, captioner=other), torch.device("cpu"))


def test_the_stand_in_is_never_beside_an_article_type(captioner: DecoderCaptioner) -> None:
    rows = [row for row in every_answer(captioner) if row["articleType"]]
    allowed = captioner.masks.allowed(captioner.masks.places(rows))
    assert CATEGORY in captioner.parts.lexicon.words
    assert not bool(allowed[:, captioner.masks.category].any())
