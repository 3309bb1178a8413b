"""Webhooks end to end: a real dispatcher process, real receivers of every kind, and a clock that is moved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from core.db.engine import Sessions
from core.db.models import LOCAL_OWNER
from core.db.webhook_models import DisabledReason, Trigger
from core.settings import FetchSettings, Settings, WebhookSettings
from core.webhooks import endpoints
from tests.processes import running, wait_until
from tests.webhook_receiver import Receiver, alternating, answer, drip, endless, hang, reset
from tests.webhook_records import (
    advance,
    attempts,
    ended_job,
    new_endpoint,
    read_endpoint,
    secret_of,
    statuses,
    waits_s,
)

SCHEDULE = WebhookSettings().schedule_s

Dispatcher = Callable[[], AbstractContextManager[object]]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """The usual settings, but that a silent receiver costs one second instead of fifteen."""
    return settings.model_copy(update={"webhooks": WebhookSettings(timeout_s=1)})


@pytest.fixture
def dispatcher(quick: Settings, tmp_path: Path) -> Dispatcher:
    """Starts a dispatcher process for the length of a block."""
    return lambda: running(quick, "dispatcher", log=tmp_path / "dispatcher.log")


def settled(sessions: Sessions, count: int) -> None:
    """Waits until so many attempts stand in the log."""
    wait_until(lambda: len(attempts(sessions)) >= count, 20, f"{count} attempts, there are {len(attempts(sessions))}")


def test_an_event_arrives_at_once_and_verifies(sessions: Sessions, dispatcher: Dispatcher, receiver: Receiver) -> None:
    endpoint_id = new_endpoint(sessions, receiver.url())
    with dispatcher():
        job_id = ended_job(sessions)
        wait_until(lambda: statuses(sessions) == ["delivered"], 20, "the delivery")
    [request] = receiver.received
    document = request.verified(secret_of(sessions, endpoint_id))
    assert document.keys() == {"type", "timestamp", "data"}
    assert (document["type"], document["data"]["id"]) == ("job.canceled", str(job_id))
    assert document["timestamp"] == document["data"]["finished_at"]
    assert request.headers["content-type"] == "application/json"
    [attempt] = attempts(sessions)
    assert (attempt.status_code, attempt.error, attempt.trigger) == (204, None, Trigger.SCHEDULE)


def test_only_what_an_endpoint_wants_is_sent_to_it(
    sessions: Sessions, dispatcher: Dispatcher, receiver: Receiver
) -> None:
    new_endpoint(sessions, receiver.url("/failures"), event_types=["job.failed"])
    new_endpoint(sessions, receiver.url("/off"), is_enabled=False)
    new_endpoint(sessions, receiver.url("/other"), owner_id="somebody-else")
    new_endpoint(sessions, receiver.url("/all"))
    with dispatcher():
        ended_job(sessions)
        settled(sessions, 1)
    assert [each.path for each in receiver.received] == ["/all"]


def test_a_jobs_own_address_is_told_with_its_query_string(
    sessions: Sessions, dispatcher: Dispatcher, receiver: Receiver
) -> None:
    with dispatcher():
        for number in range(3):
            ended_job(sessions, webhook_url=receiver.url(f"/once?job={number}"))
        wait_until(lambda: statuses(sessions) == ["delivered"] * 3, 20, "three deliveries")
    assert sorted(each.path for each in receiver.received) == [f"/once?job={number}" for number in range(3)]


@pytest.mark.parametrize(
    ("behave", "code", "error"),
    [
        (answer(500, b"out of order"), 500, None),
        (answer(301, Location="http://127.0.0.1:1/elsewhere"), 301, None),
        (answer(404), 404, None),
        (hang, None, "timeout"),
        (reset, None, "connection_failed"),
    ],
    ids=["500", "301", "404", "hang", "reset"],
)
def test_a_failure_is_tried_again_on_schedule(
    sessions: Sessions, dispatcher: Dispatcher, receiver: Receiver, behave: object, code: int | None, error: str | None
) -> None:
    receiver.behave = behave  # type: ignore[assignment]
    new_endpoint(sessions, receiver.url())
    with dispatcher():
        ended_job(sessions)
        settled(sessions, 1)
    [attempt] = attempts(sessions)
    assert (attempt.status_code, attempt.error) == (code, error)
    [wait_s] = waits_s(sessions)
    assert SCHEDULE[1] * 0.8 - 2 < wait_s < SCHEDULE[1] * 1.2
    assert len(receiver.received) == 1, "no redirect is followed"


def test_the_whole_schedule_then_failed(sessions: Sessions, quick: Settings, dispatcher: Dispatcher) -> None:
    """A receiver that is down for good: every step in its time, then the delivery has failed."""
    with Receiver() as receiver:
        url = receiver.url()
    patient = quick.webhooks.model_copy(update={"probe_every_s": 10**7, "rest_after_failures": 1000})
    quick = quick.model_copy(update={"webhooks": patient})
    new_endpoint(sessions, url)
    ended_job(sessions)
    with running(quick, "dispatcher"):
        for number, step_s in enumerate(SCHEDULE[1:], start=1):
            settled(sessions, number)
            [wait_s] = waits_s(sessions)
            assert step_s * 0.89 - 3 < wait_s < step_s * 1.11
            advance(sessions, seconds=wait_s)
        settled(sessions, len(SCHEDULE))
        wait_until(lambda: statuses(sessions) == ["failed"], 10, "the delivery to have failed")
    assert [each.error for each in attempts(sessions)] == ["connection_failed"] * len(SCHEDULE)


def test_a_nights_outage_is_made_good_when_the_receiver_is_back(
    sessions: Sessions, dispatcher: Dispatcher, receiver: Receiver
) -> None:
    new_endpoint(sessions, receiver.url())
    receiver.stop()
    with dispatcher():
        jobs = [str(ended_job(sessions)) for _ in range(40)]
        settled(sessions, 5)
        for _ in range(16):
            made = len(attempts(sessions))
            advance(sessions, minutes=31)
            settled(sessions, made + 1)
        assert statuses(sessions) == ["pending"] * 40
        receiver.start()
        advance(sessions, minutes=31)
        wait_until(lambda: statuses(sessions) == ["delivered"] * 40, 20, "everything to arrive")
    told = [json.loads(each.body)["data"]["id"] for each in receiver.received]
    assert sorted(told) == sorted(jobs)
    assert told[0] == jobs[0], "the probe is the oldest"


def test_a_silent_failing_endpoint_is_probed_and_a_probe_costs_no_step(
    sessions: Sessions, dispatcher: Dispatcher, receiver: Receiver
) -> None:
    receiver.behave = answer(500)
    new_endpoint(sessions, receiver.url())
    with dispatcher():
        ended_job(sessions)
        for number, minutes in ((1, 0.2), (2, 6), (3, 33)):
            settled(sessions, number)
            advance(sessions, minutes=minutes)
        settled(sessions, 4)
        # The schedule's next attempt is two hours away; within them there are probes.
        [wait_s] = waits_s(sessions)
        for number in (5, 6):
            advance(sessions, minutes=31)
            settled(sessions, number)
        assert [each.trigger for each in attempts(sessions)] == ["schedule"] * 4 + ["probe"] * 2
        [left_s] = waits_s(sessions)
        assert left_s == pytest.approx(wait_s - 2 * 31 * 60, abs=20)


def test_retry_after_is_honoured(sessions: Sessions, dispatcher: Dispatcher, receiver: Receiver) -> None:
    receiver.behave = answer(429, Retry_After="7200")
    endpoint_id = new_endpoint(sessions, receiver.url())
    with dispatcher():
        ended_job(sessions)
        settled(sessions, 1)
        assert waits_s(sessions)[0] == pytest.approx(7200, abs=10)
        # Another event waits for it as well, and so does the probe.
        ended_job(sessions)
        advance(sessions, minutes=60)
        ended_job(sessions)
        receiver.behave = answer(200)
        assert statuses(sessions) == ["pending"] * 3
        assert len(receiver.received) == 1
        advance(sessions, minutes=61)
        wait_until(lambda: statuses(sessions, endpoint_id) == ["delivered"] * 3, 20, "all three")


@pytest.mark.parametrize("value", ["tomorrow", "-5", "9" * 400, "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_an_odd_retry_after_changes_nothing(
    sessions: Sessions, dispatcher: Dispatcher, receiver: Receiver, value: str
) -> None:
    receiver.behave = answer(503, Retry_After=value)
    new_endpoint(sessions, receiver.url())
    with dispatcher():
        ended_job(sessions)
        settled(sessions, 1)
    assert waits_s(sessions)[0] < 86_401


def test_410_disables_the_endpoint_until_it_is_enabled(
    sessions: Sessions, dispatcher: Dispatcher, receiver: Receiver
) -> None:
    receiver.behave = answer(410)
    endpoint_id = new_endpoint(sessions, receiver.url())
    with dispatcher():
        ended_job(sessions)
        settled(sessions, 1)
        wait_until(lambda: not read_endpoint(sessions, endpoint_id).is_enabled, 10, "the endpoint to be disabled")
        assert read_endpoint(sessions, endpoint_id).disabled_reason == DisabledReason.GONE
        advance(sessions, days=1)
        ended_job(sessions)
        assert statuses(sessions) == ["pending"], "nothing new is written for it, and nothing sent"
        receiver.behave = answer(200)
        with sessions.begin() as session:
            endpoints.change(session, "local", endpoint_id, {"is_enabled": True})
        wait_until(lambda: statuses(sessions) == ["delivered"], 20, "what waited")
    assert len(receiver.received) == 2


def test_410_from_a_one_off_address_ends_that_delivery_alone(
    sessions: Sessions, dispatcher: Dispatcher, receiver: Receiver
) -> None:
    receiver.behave = answer(410)
    with dispatcher():
        ended_job(sessions, webhook_url=receiver.url("/once"))
        wait_until(lambda: statuses(sessions) == ["failed"], 20, "the delivery to have failed")
        receiver.behave = answer(200)
        ended_job(sessions, webhook_url=receiver.url("/twice"))
        advance(sessions, minutes=1)
        wait_until(lambda: statuses(sessions) == ["failed", "delivered"], 20, "the other delivery")


def test_five_days_of_failures_disable_with_a_reason(
    sessions: Sessions, dispatcher: Dispatcher, receiver: Receiver
) -> None:
    receiver.behave = answer(500)
    endpoint_id = new_endpoint(sessions, receiver.url())
    with dispatcher():
        ended_job(sessions)
        settled(sessions, 1)
        assert read_endpoint(sessions, endpoint_id).failing_since is not None
        advance(sessions, days=4, hours=23)
        settled(sessions, 2)
        assert read_endpoint(sessions, endpoint_id).is_enabled
        advance(sessions, hours=1.1)
        settled(sessions, 3)
        wait_until(lambda: not read_endpoint(sessions, endpoint_id).is_enabled, 10, "the endpoint to be disabled")
    assert read_endpoint(sessions, endpoint_id).disabled_reason == DisabledReason.FAILING


@pytest.mark.parametrize("behave", [endless, drip], ids=["gigabytes", "drip"])
def test_only_the_beginning_of_an_answer_is_read(
    sessions: Sessions, dispatcher: Dispatcher, receiver: Receiver, behave: object
) -> None:
    receiver.behave = behave  # type: ignore[assignment]
    new_endpoint(sessions, receiver.url())
    with dispatcher():
        ended_job(sessions)
        settled(sessions, 1)
    [attempt] = attempts(sessions)
    if behave is endless:
        assert (attempt.status_code, len(attempt.answer or "")) == (200, 500)
    else:
        assert attempt.error == "timeout"


def test_a_flapping_receiver_gets_everything(sessions: Sessions, dispatcher: Dispatcher, receiver: Receiver) -> None:
    receiver.behave = alternating(answer(500), reset, answer(204), answer(503))
    endpoint_id = new_endpoint(sessions, receiver.url())
    with dispatcher():
        for _ in range(30):
            ended_job(sessions)

        def is_done() -> bool:
            advance(sessions, minutes=31)
            return statuses(sessions, endpoint_id) == ["delivered"] * 30

        wait_until(is_done, 60, "all thirty")
    assert len(set(receiver.event_ids)) == 30


def test_an_endpoint_deleted_while_it_is_asked_stops_nobody(
    sessions: Sessions, dispatcher: Dispatcher, receiver: Receiver, tmp_path: Path
) -> None:
    def ended() -> int:
        return (tmp_path / "dispatcher.log").read_text().count("webhook_attempted")

    doomed = new_endpoint(sessions, receiver.url("/doomed"))
    receiver.behave = hang
    with dispatcher():
        ended_job(sessions)
        wait_until(lambda: len(receiver.received) == 1, 20, "the attempt at the endpoint that will go")
        endpoints.delete(sessions, LOCAL_OWNER, doomed)
        receiver.behave = answer(204)
        other = new_endpoint(sessions, receiver.url("/other"))
        ended_job(sessions)
        wait_until(lambda: ended() == 2, 20, "the end of both attempts")
        ended_job(sessions)
        wait_until(lambda: statuses(sessions, other) == ["delivered"] * 2, 20, "the other endpoint's deliveries")
    assert {each.endpoint_id for each in attempts(sessions)} == {other}


def test_a_dead_endpoint_slows_nobody(sessions: Sessions, dispatcher: Dispatcher, receiver: Receiver) -> None:
    with Receiver(hang) as dead:
        dead_id = new_endpoint(sessions, dead.url())
        well_id = new_endpoint(sessions, receiver.url())
        with dispatcher():
            for _ in range(200):
                ended_job(sessions)
            wait_until(lambda: statuses(sessions, well_id) == ["delivered"] * 200, 20, "the healthy endpoint's")
            assert set(statuses(sessions, dead_id)) == {"pending"}
            assert len(dead.received) < 10, "it is asked by one attempt at a time"


def test_an_endpoint_is_never_asked_faster_than_it_may(
    sessions: Sessions, dispatcher: Dispatcher, receiver: Receiver
) -> None:
    new_endpoint(sessions, receiver.url(), max_rate_per_s=10)
    with dispatcher():
        for _ in range(31):
            ended_job(sessions)
        wait_until(lambda: statuses(sessions) == ["delivered"] * 31, 20, "all of them")
    times = sorted(each.at for each in receiver.received)
    assert times[-1] - times[0] > (31 - 1 - 10) / 10 * 0.9, "ten at once, the others at ten a second"


def test_an_address_that_has_come_to_lead_inside_is_not_asked(
    sessions: Sessions, quick: Settings, receiver: Receiver
) -> None:
    strict = quick.model_copy(update={"fetch": FetchSettings()})
    endpoint_id = new_endpoint(sessions, receiver.url())
    with running(strict, "dispatcher"):
        ended_job(sessions)
        settled(sessions, 1)
    assert [each.error for each in attempts(sessions)] == ["address_blocked"]
    assert receiver.received == []
    assert read_endpoint(sessions, endpoint_id).failures == 1


def test_sigterm_lets_attempts_end_and_gives_the_rest_back(
    sessions: Sessions, settings: Settings, receiver: Receiver
) -> None:
    receiver.behave = lambda handler: (handler.pause(0.5), handler.answer(204))[1]
    new_endpoint(sessions, receiver.url())
    for _ in range(40):
        ended_job(sessions)
    with running(settings, "dispatcher") as child:
        wait_until(lambda: len(receiver.received) >= 3, 20, "the first attempts")
        child.terminate()
        assert child.wait(20) == 0
    made = len(receiver.received)
    assert statuses(sessions).count("delivered") == made
    with running(settings, "dispatcher"):
        wait_until(lambda: statuses(sessions) == ["delivered"] * 40, 30, "the others")
    assert len(receiver.received) == len(set(receiver.event_ids)) == 40


def test_kill_9_loses_nothing_and_repeats_only_under_the_same_id(
    sessions: Sessions, settings: Settings, receiver: Receiver
) -> None:
    receiver.behave = lambda handler: (handler.pause(0.01), handler.answer(204))[1]
    for _ in range(4):
        new_endpoint(sessions, receiver.url())
    for _ in range(100):
        ended_job(sessions)
    for kills in range(1, 4):
        with running(settings, "dispatcher") as child:
            wait_until(lambda kills=kills: len(receiver.received) >= 60 * kills, 20, "some deliveries")  # type: ignore[misc]
            child.kill()
            child.wait()
        advance(sessions, minutes=2)  # past the leases of what the dead one held
    with running(settings, "dispatcher"):
        wait_until(lambda: statuses(sessions) == ["delivered"] * 400, 30, "all of them")
    by_id = {each.event_id: each.body for each in receiver.received}
    assert len(by_id) == 100
    assert all(by_id[each.event_id] == each.body for each in receiver.received)
