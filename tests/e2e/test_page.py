"""The web page in a real browser, with a real API process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect
from sqlalchemy import select

from core.db.engine import Sessions
from core.db.models import Job
from core.errors import NotFound
from core.jobs import lifecycle
from core.settings import Settings
from tests import pictures
from tests.processes import running, wait_for_file
from tests.records import claim_job, finish_job
from train.synthetic.tiny import make_tiny_bundle

DROP = """([name, bytes]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/jpeg" }));
    window.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
}"""
PASTE = """([name, bytes]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/jpeg" }));
    window.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, cancelable: true }));
}"""
PASTE_TEXT = """(text) => {
    const transfer = new DataTransfer();
    transfer.setData("text/plain", text);
    window.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, cancelable: true }));
}"""


@contextmanager
def fake_worker(sessions: Sessions) -> Iterator[None]:
    """Finishes every job as a worker would: URLs with `missing` fail, those with `slow` never finish."""
    stopping = threading.Event()

    def work() -> None:
        while not stopping.wait(0.05):
            with sessions() as session:
                queued = list(session.scalars(select(Job.id).where(Job.status == "queued")))
            for claim in filter(None, [claim_job(sessions, job_id) for job_id in queued]):
                if "missing" in claim.address:
                    with sessions.begin() as session:
                        lifecycle.fail(session, claim, NotFound("there is no picture at the address"))
                elif "slow" not in claim.address:
                    finish_job(sessions, claim, in_domain=0.02 if "landscape" in claim.address else 0.99)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def test_a_real_worker_describes_an_image(page: Page, settings: Settings, tmp_path: Path) -> None:
    # Given a worker with its model,
    heartbeat = tmp_path / "heartbeat"
    worker = {"bundle": make_tiny_bundle(tmp_path / "bundle"), "heartbeat_file": heartbeat}
    settings = settings.model_copy(update={"worker": settings.worker.model_copy(update=worker)})
    with running(settings, "worker", "--lane", "interactive", log=tmp_path / "worker.log") as child:
        wait_for_file(heartbeat, child)

        # when a user drops an image,
        page.goto("/")
        page.evaluate(DROP, ["shirt.jpg", list(pictures.jpeg())])

        # then the catalogue entry appears, with uncertain attributes marked.
        card = page.locator(".card")
        expect(card).to_have_attribute("data-state", "succeeded")
        expect(card.locator(".attribute")).to_have_count(7)
        season = card.locator(".attribute", has_text="Season")
        expect(season.locator(".value")).to_contain_text("not sure – possibly ")
        expect(card.locator(".timings")).to_contain_text("model")
        expect(card.locator(".picture img")).to_be_visible()
        expect(page.locator("#model")).to_contain_text("Model: ")


def test_images_can_be_dropped_pasted_chosen_and_typed(page: Page, sessions: Sessions, tmp_path: Path) -> None:
    file = tmp_path / "two.jpg"
    file.write_bytes(pictures.jpeg(40, 40))
    page.goto("/")
    with fake_worker(sessions):
        page.evaluate(DROP, ["dropped.jpg", list(pictures.jpeg())])
        page.evaluate(PASTE, ["pasted.jpg", list(pictures.jpeg())])
        page.evaluate(PASTE_TEXT, "https://shop.example/text.jpg")
        page.set_input_files("#files", [str(file), str(file)])
        page.fill("#url", "https://shop.example/typed.jpg?X-Amz-Signature=hush")
        page.keyboard.press("Enter")

        expect(page.locator(".card[data-state=succeeded]")).to_have_count(6)

    sources = page.locator(".source").all_text_contents()
    typed, text = "https://shop.example/typed.jpg", "https://shop.example/text.jpg"
    assert sources == [typed, "two.jpg", "two.jpg", text, "pasted.jpg", "dropped.jpg"]
    assert "hush" not in page.content()
    expect(page.locator(".name").first).to_have_text("Men Navy Blue Casual Shirt")
    expect(page.locator(".attribute", has_text="Season").first).to_contain_text("not sure – possibly Fall")
    expect(page.locator(".attribute", has_text="Season").locator(".score").first).to_have_text("41\u00a0%")


def test_a_photo_without_a_product_is_reported(page: Page, sessions: Sessions) -> None:
    page.goto("/")
    with fake_worker(sessions):
        page.evaluate(PASTE_TEXT, "https://shop.example/landscape.jpg")
        expect(page.locator(".words")).to_have_text("This does not look like a product photo.")
        page.evaluate(PASTE_TEXT, "https://shop.example/shirt.jpg")
        expect(page.locator(".words").first).to_have_text("Done.")


def test_errors_are_shown_as_text(page: Page, sessions: Sessions) -> None:
    page.goto("/")
    page.fill("#url", "shirt.jpg")
    page.keyboard.press("Enter")
    expect(page.locator("#url-error")).to_contain_text("Enter the full URL")
    expect(page.locator(".card")).to_have_count(0)

    with fake_worker(sessions):
        page.fill("#url", "https://shop.example/missing.jpg")
        page.keyboard.press("Enter")
        expect(page.locator("#url-error")).to_be_hidden()
        expect(page.locator(".card .words")).to_have_text("There is no picture at the address.")
        expect(page.locator(".card .again")).to_be_visible()

        page.fill("#url", "https://user:hush@shop.example/a.jpg")
        page.keyboard.press("Enter")
        expect(page.locator(".card .words").first).to_contain_text("user name or password")
    assert "hush" not in page.content()


def test_a_job_can_be_canceled(page: Page, sessions: Sessions) -> None:
    page.goto("/")
    with fake_worker(sessions):
        page.fill("#url", "https://shop.example/slow.jpg")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Cancel").click()

        expect(page.locator(".card .words")).to_have_text("Canceled.")


def test_the_page_is_usable_by_keyboard(page: Page) -> None:
    page.goto("/")
    reached = []
    for _ in range(7):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent"))

    assert reached == ["Asset Enrichment", "Webhooks", "API", "Error codes", "files", "url", "Describe"]


def test_the_documentation_works_offline(page: Page) -> None:
    page.goto("/docs")

    paths = page.request.get("/openapi.json").json()["paths"]
    expect(page.locator(".opblock")).to_have_count(sum(len(operations) for operations in paths.values()))
    page.locator("#operations-Health-getHealth button").first.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator("#operations-Health-getHealth .live-responses-table")).to_contain_text('"status": "ok"')


def test_an_unreachable_service_is_reported(page: Page, sessions: Sessions) -> None:
    page.goto("/")
    page.context.set_offline(True)
    page.fill("#url", "https://shop.example/a.jpg")
    page.keyboard.press("Enter")
    expect(page.locator(".card .words")).to_contain_text("does not respond")

    page.context.set_offline(False)
    with fake_worker(sessions):
        page.get_by_role("button", name="Try again").click()
        expect(page.locator(".card")).to_have_attribute("data-state", "succeeded")
