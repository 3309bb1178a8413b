"""The courier's process: loops in threads, ended by SIGTERM or SIGINT, that outlive Redis's and Postgres's absences."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from sqlalchemy.exc import DBAPIError

from courier.deliverer import Deliverer
from courier.purger import purge_events
from courier.sender import Sender, make_client
from courier.sweeper import Sweeper
from jobs.database import Sessions, direct_url, make_engine, make_sessions
from jobs.listening import Listener
from jobs.logs import configure_logs, get_logger
from jobs.queue import Publisher, QueueUnavailable
from jobs.settings import Settings
from jobs.webhooks.events import CHANNEL

log = get_logger(__name__)

PURGE_EVERY_S = 600.0


def run(settings: Settings) -> int:
    """Runs until told to stop; answers the exit status: 1 when a loop ended by a fault of ours."""
    configure_logs(settings, "courier")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    engine, publisher, client = make_engine(settings), Publisher(settings), make_client(settings)
    sessions = make_sessions(engine)
    deliverer = Deliverer(settings.webhooks, sessions, Sender(client, settings.webhooks))
    listener = Listener(direct_url(settings), CHANNEL, heard=lambda _: deliverer.wake(), connected=deliverer.wake)
    log.info("courier_started", sweep_every_s=settings.courier.sweep_every_s)
    try:
        listener.start()
        has_crashed = _run_all(stopping, _loops(settings, sessions, publisher, deliverer, stopping))
    finally:
        listener.close()
        client.close()
        publisher.close()
        engine.dispose()
    log.info("courier_stopped")
    return 1 if has_crashed else 0


def _loops(
    settings: Settings, sessions: Sessions, publisher: Publisher, deliverer: Deliverer, stopping: threading.Event
) -> dict[str, Callable[[], None]]:
    sweeper = Sweeper(settings, sessions, publisher)
    return {
        "sweeper": lambda: loop(sweeper.sweep, stopping, settings.courier.sweep_every_s, "sweep"),
        "purger": lambda: loop(lambda: purge_events(sessions, settings.webhooks), stopping, PURGE_EVERY_S, "purge"),
        "deliverer": lambda: deliverer.run(stopping),
    }


def _run_all(stopping: threading.Event, loops: dict[str, Callable[[], None]]) -> bool:
    """Runs each in a thread until all have ended. One that crashes ends the others, and True is answered."""
    crashed = threading.Event()

    def keep(name: str, run_loop: Callable[[], None]) -> None:
        try:
            run_loop()
        except Exception:  # whatever starts this process starts it anew; half a courier would go unnoticed
            log.exception("loop_crashed", loop=name)
            crashed.set()
            stopping.set()

    threads = [threading.Thread(target=keep, args=each, name=each[0]) for each in loops.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return crashed.is_set()


def loop(step: Callable[[], object], stopping: threading.Event, every_s: float, name: str) -> None:
    """Does `step` until `stopping` is set. A server that is away is told once, and tried again at the next round."""
    was_well = True
    while not stopping.is_set():
        try:
            step()
            is_well, why = True, ""
        except (DBAPIError, QueueUnavailable, TimeoutError) as error:
            is_well, why = False, str(error)
        if is_well != was_well:
            log.warning(f"{name}_recovered" if is_well else f"{name}_failed", why=why)
        was_well = is_well
        stopping.wait(every_s)
