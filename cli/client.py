"""A small HTTP client of the API, used by `enrich submit` and `enrich webhooks`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from cli.sources import Source
from core.errors import EnrichError
from core.net.urls import Address

Document = dict[str, Any]

FINAL_STATUSES = frozenset({"succeeded", "failed", "canceled"})
# Duration of one long poll, shorter than the usual timeouts of proxies.
POLL_S = 30
RATE_LIMIT_TRIES = 10


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

    def submit_all(
        self, sources: Iterable[Source], *, external_id: str | None, wait: bool, max_bytes: int
    ) -> Iterator[Document]:
        """Yields one document per source, in order: the job, or `error` if it was rejected.

        With `wait` all sources are submitted before the first wait, so that they are processed in parallel.
        max_bytes: larger files are not sent.
        """
        documents = (self.submit(source, external_id=external_id, max_bytes=max_bytes) for source in sources)
        if not wait:
            yield from documents
            return
        for document in list(documents):
            yield self.wait(document)

    def submit(self, source: Source, *, external_id: str | None = None, max_bytes: int) -> Document:
        """Creates a job for an address, or by uploading a file. One file at a time is in memory."""
        fields = {"external_id": external_id} if external_id is not None else {}
        try:
            if source.is_address:
                url = str(Address.parse(source.text))
                return self.request("POST", "/v1/jobs", json={"url": url, **fields})
            file = (Path(str(source.name["file"])).name, source.read_file(max_bytes))
            return self.request("POST", "/v1/jobs", fields={**fields, "file": file})
        except (ApiError, EnrichError) as error:
            # An upload far above the API's own limit is refused by its length alone.
            is_too_large = error.code == "request_too_large" and not source.is_address
            return source.failure("image_too_large" if is_too_large else error.code, str(error))

    def wait(self, document: Document) -> Document:
        """Polls a job until it is finished. Returns error documents unchanged."""
        while "id" in document and document["status"] not in FINAL_STATUSES:
            job_id = document["id"]
            try:
                document = self.request("GET", f"/v1/jobs/{job_id}?wait={POLL_S}")
            except ApiError as error:
                document = {"source": job_id, "error": {"code": error.code, "message": str(error)}}
        return document

    def request(self, method: str, path: str, **body: Any) -> Document:
        """Sends one request with `json=` or `fields=` as in urllib3, and returns the JSON response. Raises ApiError.

        Waits and repeats it if the key's rate limit is exceeded: such a request has done nothing.
        """
        for _ in range(RATE_LIMIT_TRIES):
            try:
                response = self._http.request(method, self._base_url + path, headers=self._headers, **body)
            except HTTPError as error:
                raise ApiError("api_unreachable", f"{self._base_url} does not respond: {error}") from None
            document = _parse(response.data)
            if document.get("code") != "rate_limited":
                break
            time.sleep(_wait_s(response.headers.get("Retry-After", "")))
        if response.status >= 400:
            reason = document.get("detail") or document.get("title") or f"HTTP status {response.status}"
            raise ApiError(document.get("code", "http_error"), reason)
        return document


def _wait_s(retry_after: str) -> int:
    return min(int(retry_after), POLL_S) if retry_after.isdecimal() else 1


def _parse(data: bytes) -> Document:
    try:
        document = json.loads(data)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
