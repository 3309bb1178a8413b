"""The dispatcher process: loops in threads that survive outages of Redis and Postgres and end on SIGTERM or SIGINT."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.db.engine import direct_url, make_engine, make_sessions
from core.db.listener import Listener
from core.jobs.queue import Publisher, QueueUnavailable
from core.settings import Settings
from core.telemetry.heartbeat import Heartbeat
from core.telemetry.logs import configure_logs, get_logger
from core.telemetry.metrics import DispatcherMetrics
from core.telemetry.metrics_server import serve_metrics
from core.telemetry.tracing import exporting
from core.webhooks.events import CHANNEL
from dispatcher.gauges import REFRESH_EVERY_S, StateGauges
from dispatcher.liveness import Liveness
from dispatcher.retention import purge
from dispatcher.sweeper import Sweeper
from dispatcher.webhooks.loop import DeliveryLoop
from dispatcher.webhooks.sender import Sender, make_client

log = get_logger(__name__)

PURGE_EVERY_S = 600.0
MAX_PURGE_S = 1800.0
"""Deleting millions of events takes its time; the dispatcher is well all the while."""


def run(settings: Settings) -> int:
    """Runs until told to stop; answers the exit status: 1 when a loop ended by a fault of ours. Raises StartError."""
    configure_logs(settings, "dispatcher")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with contextlib.ExitStack() as stack:
        metrics = DispatcherMetrics()
        stack.enter_context(exporting(settings.tracing, "dispatcher"))
        loops = _open_loops(settings, metrics, stopping, stack)
        stack.enter_context(serve_metrics(settings.metrics, metrics.registry))
        has_crashed = _run_all(stopping, loops)
    log.info("dispatcher_stopped")
    return 1 if has_crashed else 0


def _open_loops(
    settings: Settings,
    metrics: DispatcherMetrics,
    stopping: threading.Event,
    stack: contextlib.ExitStack,
) -> dict[str, Callable[[], None]]:
    """Makes all that the loops work with; the stack gives it back. Answers what is to run in a thread each."""
    engine, publisher, client = make_engine(settings), Publisher(settings), make_client(settings)
    for close in (engine.dispose, publisher.close, client.close):
        stack.callback(close)
    sessions = make_sessions(engine)
    liveness = Liveness(Heartbeat(settings.dispatcher.heartbeat_file), {"purge": MAX_PURGE_S})
    deliverer = DeliveryLoop(settings.webhooks, sessions, Sender(client, settings.webhooks), metrics, liveness)
    listener = Listener(direct_url(settings), CHANNEL, on_notify=lambda _: deliverer.wake(), on_connect=deliverer.wake)
    stack.callback(listener.close)
    listener.start()
    sweeper = Sweeper(settings, sessions, publisher, metrics=metrics)
    log.info("dispatcher_started", sweep_every_s=settings.dispatcher.sweep_every_s)

    def again(step: Callable[[], object], every_s: float, name: str) -> Callable[[], None]:
        return lambda: loop(step, stopping, every_s, name, liveness)

    loops: dict[str, Callable[[], None]] = {
        "sweeper": again(sweeper.sweep, settings.dispatcher.sweep_every_s, "sweep"),
        "purger": again(lambda: purge(sessions, settings.webhooks), PURGE_EVERY_S, "purge"),
        "deliverer": lambda: deliverer.run(stopping),
        "liveness": lambda: liveness.run(stopping),
    }
    if settings.metrics.port is not None:
        readings = StateGauges(metrics, sessions, publisher)
        loops["readings"] = again(readings.read, REFRESH_EVERY_S, "readings")
    return loops


def _run_all(stopping: threading.Event, loops: dict[str, Callable[[], None]]) -> bool:
    """Runs each in a thread until all have ended. One that crashes ends the others, and True is answered."""
    crashed = threading.Event()

    def keep(name: str, run_loop: Callable[[], None]) -> None:
        try:
            run_loop()
        except Exception:  # whatever starts this process starts it anew; half a dispatcher would go unnoticed
            log.exception("loop_crashed", loop=name)
            crashed.set()
            stopping.set()

    threads = [threading.Thread(target=keep, args=each, name=each[0]) for each in loops.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return crashed.is_set()


def loop(
    step: Callable[[], object], stopping: threading.Event, every_s: float, name: str, liveness: Liveness | None = None
) -> None:
    """Does `step` until `stopping` is set. A server that is away is told once, and tried again at the next round."""
    was_healthy = True
    while not stopping.is_set():
        try:
            with liveness.round(name) if liveness else contextlib.nullcontext():
                step()
            is_healthy, why = True, ""
        except (DBAPIError, PoolTimeout, QueueUnavailable, TimeoutError) as error:
            is_healthy, why = False, str(error)
        if is_healthy != was_healthy:
            log.warning(f"{name}_recovered" if is_healthy else f"{name}_failed", why=why)
        was_healthy = is_healthy
        stopping.wait(every_s)
