"""A page of another origin, in a real browser, cannot create or read jobs of a service without API keys."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import urllib3
from playwright.sync_api import Browser

SUBMIT_BY_SCRIPT = """async (base) => {
    const form = new FormData();
    form.append("file", new Blob(["a picture"]), "a.jpg");
    const body = JSON.stringify({ url: "https://shop.example/a.jpg" });
    const tries = [
        { method: "POST", mode: "no-cors", body: form },
        { method: "POST", mode: "no-cors", body },
        { method: "POST", mode: "cors", body: form },
        { method: "POST", mode: "cors", body, headers: { "Content-Type": "application/json" } },
        { method: "GET", mode: "cors" },
    ];
    const seen = [];
    for (const options of tries) {
        seen.push(await fetch(`${base}/v1/jobs`, options).then((answer) => answer.type, () => "refused"));
    }
    return seen;
}"""
SUBMIT_BY_FORM = """(base) => {
    const form = document.createElement("form");
    Object.assign(form, { method: "POST", enctype: "multipart/form-data", action: `${base}/v1/jobs` });
    const file = Object.assign(document.createElement("input"), { type: "file", name: "file" });
    const transfer = new DataTransfer();
    transfer.items.add(new File(["a picture"], "a.jpg"));
    file.files = transfer.files;
    form.append(file);
    document.body.append(form);
    form.submit();
}"""


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>foreign</title><body>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def foreign_port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])  # the same site on another port, and another site
def test_a_foreign_page_can_neither_create_nor_read_jobs(
    browser: Browser, api_base: str, foreign_port: int, name: str
) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.goto(f"http://{name}:{foreign_port}/")

        seen = page.evaluate(SUBMIT_BY_SCRIPT, api_base)
        with page.expect_response("**/v1/jobs") as answered:
            page.evaluate(SUBMIT_BY_FORM, api_base)

    assert not {"basic", "cors", "default"} & set(seen), "no answer may be readable"
    assert answered.value.status == 403
    with urllib3.PoolManager(retries=False) as http:
        assert http.request("GET", f"{api_base}/v1/jobs").json()["jobs"] == []
