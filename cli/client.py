"""A small HTTP client of the API, used by `enrich submit` and `enrich webhooks`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

Document = dict[str, Any]

FINAL_STATUSES = frozenset({"succeeded", "failed", "canceled"})
# Duration of one long poll, shorter than the usual timeouts of proxies.
POLL_S = 30


class ApiError(Exception):
    """The API rejected a request or did not respond. `code` is the code of its problem document."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Client:
    """A client of one API.

    Args:
        base_url: such as `http://localhost:8000`.
        key: API key, sent as `Authorization: Bearer …`.
    """

    def __init__(self, base_url: str, key: str | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        # No automatic retries: repeating a POST could create two jobs.
        self._http = urllib3.PoolManager(timeout=urllib3.Timeout(connect=5, read=POLL_S + 30), retries=False)

    def submit_all(self, sources: Sequence[str], *, external_id: str | None, wait: bool) -> Iterator[Document]:
        """Yields one document per source, in order: the job, or `error` if it was rejected.

        With `wait` all sources are submitted before the first wait, so that they are processed in parallel.
        """
        documents = (self.submit(source, external_id=external_id) for source in sources)
        if not wait:
            yield from documents
            return
        for document in list(documents):
            yield self.wait(document)

    def submit(self, source: str, *, external_id: str | None = None) -> Document:
        """Creates a job for a URL (anything with `://`) or by uploading a file."""
        fields = {"external_id": external_id} if external_id is not None else {}
        if "://" in source:
            return self._try("POST", "/v1/jobs", source, json={"url": source, **fields})
        file = Path(source)
        try:
            data = file.read_bytes()
        except OSError as error:
            return _error_document(source, "file_unreadable", f"cannot read {file}: {error.strerror}")
        return self._try("POST", "/v1/jobs", source, fields={**fields, "file": (file.name, data)})

    def wait(self, document: Document) -> Document:
        """Polls a job until it is finished. Returns error documents unchanged."""
        while "id" in document and document["status"] not in FINAL_STATUSES:
            document = self._try("GET", f"/v1/jobs/{document['id']}?wait={POLL_S}", document["id"])
        return document

    def _try(self, method: str, path: str, source: str, **body: Any) -> Document:
        try:
            return self.request(method, path, **body)
        except ApiError as error:
            return _error_document(source, error.code, str(error))

    def request(self, method: str, path: str, **body: Any) -> Document:
        """Sends one request with `json=` or `fields=` as in urllib3, and returns the JSON response. Raises ApiError."""
        try:
            response = self._http.request(method, self._base_url + path, headers=self._headers, **body)
        except HTTPError as error:
            raise ApiError("api_unreachable", f"{self._base_url} does not respond: {error}") from None
        document = _parse(response.data)
        if response.status >= 400:
            reason = document.get("detail") or document.get("title") or f"HTTP status {response.status}"
            raise ApiError(document.get("code", "http_error"), reason)
        return document


def _parse(data: bytes) -> Document:
    try:
        document = json.loads(data)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _error_document(source: str, code: str, message: str) -> Document:
    return {"source": source, "error": {"code": code, "message": message}}
