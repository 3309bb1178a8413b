"""Answers local files and addresses without any server, with the worker's own fetch, decode, preprocess and predict."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Protocol

from core.errors import EnrichError
from core.net.http import GuardedClient
from core.settings import Settings
from core.storage.image_addresses import parse_image_address
from core.storage.uploads import open_storage
from model.predictor import Predictor
from model.preprocessing import Pixels
from worker.image.fetch import Fetcher
from worker.image.preprocess import preprocess

Document = dict[str, object]


class Source(Protocol):
    """An image to answer: a local file, or an address."""

    @property
    def text(self) -> str:
        """The path or the address."""

    @property
    def is_address(self) -> bool: ...

    @property
    def name(self) -> Document:
        """The first keys of its document."""

    def failure(self, code: str, message: str) -> Document:
        """Returns the document if there is no answer."""

    def read_file(self, max_bytes: int) -> bytes:
        """Returns the file's bytes. Raises EnrichError."""


def predict_sources(settings: Settings, sources: Iterable[Source], bundle: Path | None = None) -> Iterator[Document]:
    """Yields one document per source, in order: `metadata`, `predictions` and `model`, or the document of the failure.

    No more than one batch is taken from the sources at a time, and no more than one file is in memory.
    bundle: a bundle's folder. Defaults to the configured bundle, else the shipped one.
    Raises BundleError before the first answer.
    """
    worker = settings.worker
    budget_ms = math.inf if worker.caption_budget_ms else 0  # no other caller waits for this process
    predictor = Predictor.load(bundle or worker.bundle, device=worker.device, caption_budget_ms=budget_ms)
    remaining = iter(sources)
    with _address_reader(settings) as read_address:
        while batch := list(islice(remaining, worker.max_batch_size)):
            yield from _answer(predictor, settings, batch, read_address)


@contextmanager
def _address_reader(settings: Settings) -> Iterator[Callable[[str], bytes]]:
    """Yields a function that fetches an address as a worker does, with the same guard, limits and errors.

    It raises InvalidAddress for what the API refuses, and the errors of `Fetcher.fetch`.
    """
    storage, client = open_storage(settings), GuardedClient(settings.fetch)
    fetcher = Fetcher(settings, storage, client)

    def read(text: str) -> bytes:
        address = parse_image_address(text, settings.fetch, storage)
        return fetcher.fetch(str(address), is_upload=False).body

    try:
        yield read
    finally:
        client.close()


def _answer(
    predictor: Predictor, settings: Settings, sources: Iterable[Source], read_address: Callable[[str], bytes]
) -> list[Document]:
    """Answers one batch. A source that cannot be read or decoded fails alone."""
    documents: list[Document] = []
    waiting: list[tuple[Document, Pixels]] = []
    for source in sources:
        document = source.name
        try:
            is_address = source.is_address
            data = read_address(source.text) if is_address else source.read_file(settings.fetch.max_bytes)
            waiting.append((document, preprocess(data, predictor, settings.decode).pixels))
        except EnrichError as error:
            document = source.failure(error.code, error.message)
        documents.append(document)
    for (document, _), answer in zip(waiting, predictor.predict([pixels for _, pixels in waiting]), strict=True):
        document |= answer.to_json() | {"model": _model(predictor)}
    return documents


def _model(predictor: Predictor) -> Document:
    bundle = predictor.bundle
    return {"bundle": bundle.name, "version": bundle.version, "taxonomy": bundle.taxonomy.version}
