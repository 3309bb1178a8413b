"""Answers local image files without any server, with the worker's own decode, preprocess and predict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from core.errors import (
    AccessDenied,
    ImageTooLarge,
    JobError,
    NotFound,
)
from core.settings import Settings
from model.predictor import Predictor
from model.preprocessing import Pixels
from worker.image.preprocess import preprocess

Document = dict[str, Any]


def predict_files(settings: Settings, files: Sequence[Path], bundle: Path | None = None) -> Iterator[Document]:
    """Yields one document per file, in order: `file` with `metadata`, `predictions` and `model`, or with `error`.

    bundle: a bundle's folder. Defaults to the configured bundle, else the shipped one.
    Raises BundleError before the first answer.
    """
    worker = settings.worker
    budget_ms = math.inf if worker.caption_budget_ms else 0  # no other caller waits for this process
    predictor = Predictor.load(bundle or worker.bundle, device=worker.device, caption_budget_ms=budget_ms)
    remaining = iter(files)
    while batch := list(islice(remaining, settings.worker.max_batch_size)):
        yield from _answer(predictor, settings, batch)


def _answer(predictor: Predictor, settings: Settings, files: Iterable[Path]) -> list[Document]:
    """Answers one batch. A file that cannot be read or decoded fails alone."""
    documents: list[Document] = []
    waiting: list[tuple[Document, Pixels]] = []
    for file in files:
        document: Document = {"file": str(file)}
        documents.append(document)
        try:
            waiting.append((document, _pixels(predictor, settings, file)))
        except JobError as error:
            document["error"] = {"code": error.code, "message": error.message}
    for (document, _), answer in zip(waiting, predictor.predict([pixels for _, pixels in waiting]), strict=True):
        document |= answer.to_json() | {"model": _model(predictor)}
    return documents


def _pixels(predictor: Predictor, settings: Settings, file: Path) -> Pixels:
    return preprocess(_read(file, settings.fetch.max_bytes), predictor, settings.decode).pixels


def _read(file: Path, max_bytes: int) -> bytes:
    """Returns the file's bytes, limited as a fetch is."""
    try:
        with file.open("rb") as opened:
            data = opened.read(max_bytes + 1)
    except FileNotFoundError:
        raise NotFound("there is no such file") from None
    except OSError as error:
        raise AccessDenied(f"the file cannot be read: {error.strerror}") from error
    if len(data) > max_bytes:
        raise ImageTooLarge(f"the file is larger than {max_bytes} bytes; see ENRICH_FETCH__MAX_BYTES")
    return data


def _model(predictor: Predictor) -> Document:
    bundle = predictor.bundle
    return {"bundle": bundle.name, "version": bundle.version, "taxonomy": bundle.taxonomy.version}
