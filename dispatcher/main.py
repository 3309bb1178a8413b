"""The dispatcher process: loops in threads that survive outages of Redis and Postgres and stop on SIGTERM or SIGINT."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable

from core.db.engine import direct_url, make_engine, make_sessions
from core.db.errors import STATEMENT_FAILED
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
"""Time limit of one purge. Deleting millions of events takes long and is healthy."""


def run(settings: Settings) -> int:
    """Runs until SIGTERM or SIGINT. Returns the exit status, 1 if a loop crashed. Raises StartError."""
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
    """Opens the resources of the loops, to be closed by `stack`. Returns the loops by name, each for its own thread."""
    engine, publisher, client = make_engine(settings), Publisher(settings), make_client(settings)
    for close in (engine.dispose, publisher.close, client.close):
        stack.callback(close)
    sessions = make_sessions(engine)
    liveness = Liveness(Heartbeat(settings.dispatcher.heartbeat_file), {"retention": MAX_PURGE_S})
    delivery = DeliveryLoop(settings.webhooks, sessions, Sender(client, settings.webhooks), metrics, liveness)
    listener = Listener(direct_url(settings), CHANNEL, on_notify=lambda _: delivery.wake(), on_connect=delivery.wake)
    stack.callback(listener.close)
    listener.start()
    sweeper = Sweeper(settings, sessions, publisher, metrics=metrics)
    log.info("dispatcher_started", sweep_every_s=settings.dispatcher.sweep_every_s)

    def repeating(step: Callable[[], object], every_s: float, name: str) -> Callable[[], None]:
        return lambda: repeat(step, stopping, every_s, name, liveness)

    loops: dict[str, Callable[[], None]] = {
        "sweep": repeating(sweeper.sweep, settings.dispatcher.sweep_every_s, "sweep"),
        "retention": repeating(lambda: purge(sessions, settings.webhooks), PURGE_EVERY_S, "retention"),
        "delivery": lambda: delivery.run(stopping),
        "liveness": lambda: liveness.run(stopping),
    }
    if settings.metrics.port is not None:
        gauges = StateGauges(metrics, sessions, publisher)
        loops["gauges"] = repeating(gauges.refresh, REFRESH_EVERY_S, "gauges")
    return loops


def _run_all(stopping: threading.Event, loops: dict[str, Callable[[], None]]) -> bool:
    """Runs each loop in a thread until all have ended. A crash of one stops the others. Returns whether one crashed."""
    crashed = threading.Event()

    def guarded(name: str, run_loop: Callable[[], None]) -> None:
        try:
            run_loop()
        except Exception:  # exit, so that the supervisor restarts the process; a missing loop would go unnoticed
            log.exception("loop_crashed", loop=name)
            crashed.set()
            stopping.set()

    threads = [threading.Thread(target=guarded, args=each, name=each[0]) for each in loops.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return crashed.is_set()


def repeat(
    step: Callable[[], object], stopping: threading.Event, every_s: float, name: str, liveness: Liveness | None = None
) -> None:
    """Repeats `step` until `stopping` is set. Logs an unavailable server once and retries in the next round."""
    was_healthy = True
    while not stopping.is_set():
        try:
            with liveness.round(name) if liveness else contextlib.nullcontext():
                step()
            is_healthy, why = True, ""
        except (*STATEMENT_FAILED, QueueUnavailable, TimeoutError) as error:
            is_healthy, why = False, str(error)
        if is_healthy != was_healthy:
            log.warning(f"{name}_recovered" if is_healthy else f"{name}_failed", why=why)
        was_healthy = is_healthy
        stopping.wait(every_s)
