"""A small client of the API over HTTP: what `enrich submit` is made of, and an example for your own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

Document = dict[str, Any]

FINAL = frozenset({"succeeded", "failed", "canceled"})
# One long poll; shorter than what proxies usually cut off.
POLL_S = 30


class Refused(Exception):
    """The API said no, or nothing. `code` is that of its problem document; the text says what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Client:
    """Asks one API.

    Args:
        base_url: where it is, such as `http://localhost:8000`.
        key: API key, sent as `Authorization: Bearer …`.
    """

    def __init__(self, base_url: str, key: str | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        # A POST is never repeated by itself: it could make two jobs.
        self._http = urllib3.PoolManager(timeout=urllib3.Timeout(connect=5, read=POLL_S + 30), retries=False)

    def submit_all(self, sources: Sequence[str], *, external_id: str | None, wait: bool) -> Iterator[Document]:
        """One document per source, in order: the job, or `error` with what was refused.

        All are sent before the first is waited for, so that they are worked on together.
        """
        documents = (self.submit(source, external_id=external_id) for source in sources)
        if not wait:
            yield from documents
            return
        for document in list(documents):
            yield self.wait(document)

    def submit(self, source: str, *, external_id: str | None = None) -> Document:
        """Makes a job of an address (anything with `://`) or of a file's bytes."""
        fields = {"external_id": external_id} if external_id is not None else {}
        if "://" in source:
            return self._ask("POST", "/v1/jobs", source, json={"url": source, **fields})
        file = Path(source)
        try:
            data = file.read_bytes()
        except OSError as error:
            return _refused(source, "file_unreadable", f"{file} cannot be read: {error.strerror}")
        return self._ask("POST", "/v1/jobs", source, fields={**fields, "file": (file.name, data)})

    def wait(self, document: Document) -> Document:
        """The job once it has ended; a document without an id as it is."""
        while "id" in document and document["status"] not in FINAL:
            document = self._ask("GET", f"/v1/jobs/{document['id']}?wait={POLL_S}", document["id"])
        return document

    def _ask(self, method: str, path: str, source: str, **body: Any) -> Document:
        try:
            return self.ask(method, path, **body)
        except Refused as error:
            return _refused(source, error.code, str(error))

    def ask(self, method: str, path: str, **body: Any) -> Document:
        """One request; `json=` or `fields=` as urllib3 takes them. Raises Refused."""
        try:
            response = self._http.request(method, self._base_url + path, headers=self._headers, **body)
        except HTTPError as error:
            raise Refused("api_unreachable", f"{self._base_url} does not answer: {error}") from None
        document = _parse(response.data)
        if response.status >= 400:
            reason = document.get("detail") or document.get("title") or f"HTTP status {response.status}"
            raise Refused(document.get("code", "http_error"), reason)
        return document


def _parse(data: bytes) -> Document:
    try:
        document = json.loads(data)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _refused(source: str, code: str, message: str) -> Document:
    return {"source": source, "error": {"code": code, "message": message}}
