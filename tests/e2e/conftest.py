"""A real browser, and an API process for it to look at."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from jobs.embedded.server import free_port
from jobs.settings import Settings
from tests.processes import running, wait_for_api

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Without these a browser asks its maker's servers for updates and the like.
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
    """The address of an API process on the test's own record."""
    port = free_port()
    own = settings.model_copy(update={"api": settings.api.model_copy(update={"port": port})})
    with running(own, "api", log=tmp_path / "api.log"):
        wait_for_api(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
