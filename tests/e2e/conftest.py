"""Fixtures: a real browser and an API process for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from core.settings import Settings
from tests.ports import free_port
from tests.processes import running, wait_for_api

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Without these flags the browser contacts its vendor's servers, for updates and the like.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium of this machine."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium on this machine: run tests/prepare.sh as root, or install one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def api_base(settings: Settings, tmp_path: Path) -> Iterator[str]:
    """The base URL of an API process on the test's own database."""
    port = free_port()
    own = settings.model_copy(update={"api": settings.api.model_copy(update={"port": port})})
    with running(own, "api", log=tmp_path / "api.log"):
        wait_for_api(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def page(browser: Browser, api_base: str) -> Iterator[Page]:
    """A fresh tab. The test fails if a page contacts another host or violates its security policy."""
    with browser.new_context(base_url=api_base) as context:
        page = context.new_page()
        page.set_default_timeout(20_000)
        faults: list[str] = []
        page.on("request", lambda request: faults.append(request.url) if is_foreign(request.url, api_base) else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if "Security Policy" in line.text else None)
        yield page
        assert faults == []


def is_foreign(url: str, base: str) -> bool:
    return not url.startswith((f"{base}/", "blob:", "data:"))
