"""The webhooks page in a real browser, with a real API, a real dispatcher and a real receiver."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from core.db.engine import Sessions
from core.settings import Settings
from tests.processes import running
from tests.webhook_receiver import Receiver, answer
from tests.webhook_records import ended_job, new_endpoint, secret_of


@pytest.fixture
def receiver(settings: Settings, tmp_path: Path) -> Iterator[Receiver]:
    """A receiver, and a dispatcher that sends to it."""
    with Receiver() as receiver, running(settings, "dispatcher", log=tmp_path / "dispatcher.log"):
        yield receiver


def test_an_endpoint_is_added_and_tested(page: Page, receiver: Receiver, sessions: Sessions) -> None:
    page.goto("/webhooks")
    expect(page.get_by_text("None yet.")).to_be_visible()

    # Given a rejected URL, then a valid one
    page.get_by_label("URL of a new endpoint").fill("http://10.0.0.1/")
    page.get_by_role("button", name="Add endpoint").click()
    expect(page.locator("#add-words")).to_contain_text("Events may not be sent to this address")
    page.get_by_label("URL of a new endpoint").fill(receiver.url("/hooks?token=1"))
    page.get_by_role("button", name="Add endpoint").click()

    # Then its secret is shown, and its query string is not
    endpoint = page.locator(".endpoint")
    expect(endpoint.locator(".url")).to_have_text(receiver.url("/hooks"))
    expect(endpoint.locator("code")).to_have_text(re.compile("whsec_.+"))

    # When a test event is sent, it arrives, verifies, and appears in the list of deliveries
    endpoint.get_by_role("button", name="Send test event").click()
    row = page.locator(".deliveries li")
    expect(row).to_have_attribute("data-status", "delivered")
    secret = endpoint.locator("code").text_content() or ""
    assert receiver.received[0].verified(secret)["type"] == "endpoint.test"
    row.locator("summary").click()
    expect(row.locator("pre")).to_contain_text("204")
    expect(row.locator("pre")).to_contain_text("This is a test.")

    # When it is replayed, it has the same id
    row.get_by_role("button", name="Replay").click()
    expect(row.locator(".what")).to_contain_text("2 attempts")
    assert len(set(receiver.event_ids)) == 1
    assert len(receiver.received) == 2


def test_a_failing_endpoint_is_reported_disabled_and_deleted(
    page: Page, receiver: Receiver, sessions: Sessions
) -> None:
    receiver.behave = answer(503, b"be right back")
    page.goto("/webhooks")
    page.get_by_label("URL of a new endpoint").fill(receiver.url())
    page.get_by_role("button", name="Add endpoint").click()
    endpoint = page.locator(".endpoint")
    expect(endpoint).to_have_attribute("data-health", "healthy")

    ended_job(sessions)
    expect(page.locator(".deliveries li")).to_have_attribute("data-status", "pending")
    page.get_by_label("Show").select_option("pending")
    expect(endpoint).to_have_attribute("data-health", "failing")
    expect(endpoint.locator(".words")).to_contain_text("1 pending")
    page.locator(".deliveries summary").click()
    expect(page.locator(".deliveries pre")).to_contain_text("be right back")

    endpoint.get_by_role("button", name="Replay failed deliveries").click()
    expect(endpoint.locator(".said")).to_have_text("0 deliveries replayed.")
    endpoint.get_by_role("button", name="Disable").click()
    expect(endpoint).to_have_attribute("data-health", "disabled")
    expect(endpoint.locator(".words")).to_contain_text("disabled by owner")
    endpoint.get_by_role("button", name="Send test event").click()
    expect(endpoint.get_by_role("alert")).to_contain_text("enable it first")

    page.on("dialog", lambda dialog: dialog.accept())
    endpoint.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("None yet.")).to_be_visible()


def test_a_secret_is_shown_on_demand(page: Page, receiver: Receiver, sessions: Sessions) -> None:
    endpoint_id = new_endpoint(sessions, receiver.url())
    page.goto("/webhooks")
    page.get_by_role("button", name="Show secret").click()
    expect(page.locator(".endpoint code")).to_have_text(secret_of(sessions, endpoint_id))
