"""The web page with a service that requires API keys: it asks once, and keeps the key for the tab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from core.db.engine import Sessions
from core.settings import Settings
from tests.e2e.test_page import fake_worker
from tests.integration.core.auth.test_api_keys import make_key
from tests.ports import free_port
from tests.processes import running, wait_for_api


@pytest.fixture
def page(browser: Browser, settings: Settings, tmp_path: Path) -> Iterator[Page]:
    """A fresh tab, with an API process that requires keys."""
    port = free_port()
    api = settings.api.model_copy(update={"port": port, "require_key": True})
    with running(settings.model_copy(update={"api": api}), "api", log=tmp_path / "api.log"):
        wait_for_api(f"http://127.0.0.1:{port}")
        with browser.new_context(base_url=f"http://127.0.0.1:{port}") as context:
            page = context.new_page()
            page.set_default_timeout(20_000)
            yield page


def test_the_key_is_requested_once_and_kept_for_the_tab(page: Page, sessions: Sessions) -> None:
    # Given a page whose first request was rejected,
    page.goto("/")
    expect(page.locator("#key-words")).to_contain_text("Send an API key")

    # when an image is sent without a key, and with a wrong one,
    page.fill("#url", "https://shop.example/a.jpg")
    page.locator("#url").press("Enter")
    expect(page.locator(".card")).to_have_attribute("data-state", "refused")
    page.fill("#key", "enrich_wrong")
    page.locator("#key").press("Enter")
    expect(page.locator("#key-words")).to_contain_text("Invalid or revoked API key")

    # then entering the right key resends it,
    with fake_worker(sessions):
        page.fill("#key", make_key(sessions))
        page.locator("#key").press("Enter")
        expect(page.locator(".card")).to_have_attribute("data-state", "succeeded")
    expect(page.locator("#key-form")).to_be_hidden()

    # and a reload does not ask again.
    with page.expect_response("**/v1/model") as answered:
        page.reload()
    assert answered.value.status == 503, "no worker has registered a model, but the key was taken"
    expect(page.locator("#key-form")).to_be_hidden()
    assert page.evaluate("localStorage.length + document.cookie.length") == 0
